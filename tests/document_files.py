"""Documents written by hand: small enough to read, and to break on purpose."""

import io
import zipfile
from collections.abc import Mapping, Sequence

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf(pages: Sequence[str], *, size: tuple[float, float] = (595, 842), extra: bytes = b"") -> bytes:
    """One line of text, or PDF drawing operators after ``!``, a page."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        FONT,
    ]
    for i, page in enumerate(pages):
        drawn = page[1:] if page.startswith("!") else f"BT /F1 24 Tf 72 700 Td ({page}) Tj ET"
        body = drawn.encode("latin-1")
        box = b"[0 0 %g %g]" % size
        resources = b"<< /Font << /F1 3 0 R >> %s >>" % extra
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox %s /Resources %s /Contents %d 0 R >>"
            % (box, resources, 5 + 2 * i),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body),
        ]
    return assembled(objects)


def assembled(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Objects 1, 2, … with their table."""
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        trailer,
        table,
    )
    return bytes(out)


def encrypted() -> bytes:
    """A PDF that wants a password (its key is nobody's)."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [] /Count 0 >>",
        b"<< /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <%s> /U <%s> >>" % (b"ab" * 32, b"cd" * 32),
    ]
    return assembled(
        objects, b"/Encrypt 3 0 R /ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
    )


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def docx(
    body: str, pictures: Mapping[str, bytes] | None = None, *, before: str = "", **parts: bytes
) -> bytes:
    """A Word document.

    Args:
        body: what stands in ``w:body``.
        pictures: files by the link that leads to them.
        before: what stands before the root element.
        parts: ``document``, ``styles`` or ``relations`` as a whole.
    """
    names = {link: f"media/{link}.bin" for link in pictures or {}}
    relations = "".join(f'<Relationship Id="{link}" Target="{name}"/>' for link, name in names.items())
    root = f'<w:document xmlns:w="{WORD}" xmlns:a="{DRAWING}" xmlns:r="{LINKS}" xmlns:mc="urn:mc">'
    style = '<w:style w:styleId="1"><w:name w:val="heading 1"/></w:style>'
    files = {
        "[Content_Types].xml": b"<Types/>",
        "word/document.xml": parts.get(
            "document", f"{before}{root}<w:body>{body}</w:body></w:document>".encode()
        ),
        "word/styles.xml": parts.get("styles", f'<w:styles xmlns:w="{WORD}">{style}</w:styles>'.encode()),
        "word/_rels/document.xml.rels": parts.get(
            "relations", f"<Relationships>{relations}</Relationships>".encode()
        ),
        **{f"word/{name}": (pictures or {})[link] for link, name in names.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of a Word document."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def placed(link: str) -> str:
    """A paragraph with the embedded picture ``link``."""
    return f'<w:p><w:r><w:drawing><a:blip r:embed="{link}"/></w:drawing></w:r></w:p>'
