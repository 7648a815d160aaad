"""chiasm's default model behind LitServe, as its documentation batches embeddings; run by compare.py."""

import base64
import sys

import litserve

import chiasm


class Embeddings(litserve.LitAPI):
    """A list of texts, or of base64 pictures, a request."""

    def setup(self, device):
        self.model = chiasm.load()

    def decode_request(self, request):
        texts = request.get("texts")
        return texts if texts else [base64.b64decode(one) for one in request["images"]]

    def predict(self, requests):
        vectors = self.model.embed([one for request in requests for one in request])
        found, start = [], 0
        for request in requests:
            found.append(vectors[start : start + len(request)])
            start += len(request)
        return found

    def encode_response(self, vectors):
        return {"data": [base64.b64encode(vector.tobytes()).decode() for vector in vectors]}


if __name__ == "__main__":
    api = Embeddings(max_batch_size=32, batch_timeout=0.002)
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
