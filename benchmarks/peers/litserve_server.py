"""A CLIP behind LitServe, as its documentation batches requests to transformers; run by compare.py."""

import base64
import io
import sys

import litserve
import torch
import transformers
from PIL import Image


class Embeddings(litserve.LitAPI):
    """A list of texts, or of base64 pictures, a request."""

    def setup(self, device):
        self.model = transformers.CLIPModel.from_pretrained(sys.argv[2]).eval()
        self.processor = transformers.CLIPProcessor.from_pretrained(sys.argv[2])

    def decode_request(self, request):
        texts = request.get("texts")
        if texts:
            return texts
        return [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in request["images"]]

    @torch.inference_mode()
    def predict(self, requests):
        flat = [one for request in requests for one in request]
        vectors = torch.empty((len(flat), self.model.config.projection_dim))
        texts = [n for n, one in enumerate(flat) if isinstance(one, str)]
        pictures = [n for n, one in enumerate(flat) if not isinstance(one, str)]
        if texts:
            ready = self.processor(
                text=[flat[n] for n in texts], return_tensors="pt", padding=True, truncation=True
            )
            vectors[texts] = self.model.get_text_features(**ready)
        if pictures:
            ready = self.processor(images=[flat[n] for n in pictures], return_tensors="pt")
            vectors[pictures] = self.model.get_image_features(**ready)
        return torch.nn.functional.normalize(vectors, dim=-1).split([len(request) for request in requests])

    def encode_response(self, vectors):
        return {"data": [base64.b64encode(vector.numpy().tobytes()).decode() for vector in vectors]}


if __name__ == "__main__":
    api = Embeddings(max_batch_size=32, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
