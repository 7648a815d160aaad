"""``config.json`` of published models → our configurations. Values that we do not compute are refused."""

from collections.abc import Mapping
from typing import Any

from chiasm.errors import CheckpointError
from chiasm.models.bert.config import BertConfig
from chiasm.models.clip.config import ClipConfig, TextConfig
from chiasm.models.gpt.config import GptConfig
from chiasm.models.llama.config import LlamaConfig
from chiasm.models.vit.config import VitConfig
from chiasm.nn.blocks import Activation

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}
# What says how to train, where to come from, or what other heads need: it changes no vector.
_HARMLESS = """
    _attn_implementation_autoset _name_or_path add_cross_attention architectures attention_dropout
    attention_probs_dropout_prob attn_pdrop bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward classifier_dropout cross_attention_hidden_size decoder_start_token_id
    diversity_penalty do_sample dropout dtype early_stopping embd_pdrop encoder_no_repeat_ngram_size
    encoder_stride eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id
    forced_eos_token_id fp16 gradient_checkpointing hidden_dropout hidden_dropout_prob id2label
    initializer_factor initializer_range is_decoder is_encoder_decoder label2id length_penalty license
    logit_scale_init_value max_length min_length model_type no_repeat_ngram_size num_beam_groups
    num_beams num_labels num_return_sequences output_attentions output_hidden_states output_scores
    pad_token_id pooler_act pooler_output_size prefix problem_type projection_size pruned_heads
    remove_invalid_values repetition_penalty resid_pdrop return_dict return_dict_in_generate
    sep_token_id summary_activation summary_first_dropout summary_proj_to_labels summary_type
    summary_use_proj suppress_tokens task_specific_params temperature text_config_dict tf_legacy_loss
    tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript
    transformers_version transformers_weights typical_p use_bfloat16 use_cache vision_config_dict
"""
HARMLESS = frozenset(_HARMLESS.split())


class Table:
    """A table of ``config.json``: what is read is of its type, and nothing is left unread.

    Args:
        name: of the table, for messages.
    """

    def __init__(self, data: Mapping[str, Any], name: str = "config.json") -> None:
        self._data = data
        self._name = name
        self._left = {key for key, value in data.items() if value is not None} - HARMLESS

    def number(self, key: str, default: int) -> int:
        """A whole number between 0 and 2^24."""
        value = self._take(key, default)
        if type(value) is not int or not 0 <= value < 1 << 24:
            raise self.bad(key, "a whole number", "整数", value)
        return value

    def real(self, key: str, default: float) -> float:
        """A number."""
        value = self._take(key, default)
        if type(value) not in {int, float}:
            raise self.bad(key, "a number", "数", value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._take(key, default)
        if type(value) is not bool:
            raise self.bad(key, "true or false", " true 或 false", value)
        return value

    def text(self, key: str, default: str) -> str:
        """A word."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self.bad(key, "a word", "一个词", value)
        return value

    def numbers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """At most 64 whole numbers between 1 and 2^24."""
        value = self._take(key, default)
        listed = isinstance(value, list | tuple) and 1 <= len(value) <= 64
        if not listed or not all(type(one) is int and 1 <= one < 1 << 24 for one in value):
            raise self.bad(key, "a list of whole numbers", "整数的列表", value)
        return tuple(value)

    def three(self, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        """Three numbers, of the channels of a picture."""
        value = self._take(key, default)
        listed = isinstance(value, list | tuple) and len(value) == 3
        if not listed or not all(type(one) in {int, float} for one in value):
            raise self.bad(key, "three numbers", "三个数", value)
        return float(value[0]), float(value[1]), float(value[2])

    def skip(self, key: str) -> None:
        """A key that follows from others."""
        self._take(key, None)

    def activation(self, default: str, key: str = "hidden_act") -> Activation:
        """An activation function by its published name."""
        value = self._take(key, default)
        if value not in ACTIVATIONS:
            raise self.bad(key, f"one of {sorted(ACTIVATIONS)}", f" {sorted(ACTIVATIONS)} 之一", value)
        return ACTIVATIONS[value]

    def expect(self, key: str, *allowed: object) -> None:
        """The only values of a key that we compute; one that is missing is fine."""
        value = self._take(key, allowed[0])
        if value not in allowed:
            raise self.bad(key, f"one of {list(allowed)}", f" {list(allowed)} 之一", value)

    def table(self, key: str) -> "Table":
        """A table within."""
        value = self._take(key, {})
        if not isinstance(value, Mapping):
            raise self.bad(key, "a table", "一个表", value)
        return Table(value, f"{self._name}: {key}")

    def finish(self) -> None:
        """Refuse what nobody has read: it might change the numbers."""
        if self._left:
            key = sorted(self._left)[0]
            raise CheckpointError(
                f"{self._name}: expected keys of this architecture, got {sorted(self._left)} too",
                f"{self._name}：含有未知的键 {sorted(self._left)}",
                param=key,
            )

    def bad(self, key: str, wanted: str, wanted_zh: str, got: object) -> CheckpointError:
        """The error for a value."""
        return CheckpointError(
            f"{self._name}: {key}: expected {wanted}, got {got!r}",
            f"{self._name}：{key} 应为{wanted_zh}，实际为 {got!r}",
            param=key,
        )

    def _take(self, key: str, default: Any) -> Any:
        self._left.discard(key)
        value = self._data.get(key)
        return default if value is None else value


def bert_config(table: Table, *, unused_positions: int = 0) -> BertConfig:
    """BERT's, RoBERTa's or XLM-R's.

    Args:
        unused_positions: at the beginning of the table, where they are left out.
    """
    table.expect("position_embedding_type", "absolute")
    config = BertConfig(
        vocabulary=table.number("vocab_size", 30_522),
        positions=table.number("max_position_embeddings", 512) - unused_positions,
        token_types=table.number("type_vocab_size", 2),
        width=table.number("hidden_size", 768),
        depth=table.number("num_hidden_layers", 12),
        heads=table.number("num_attention_heads", 12),
        hidden=table.number("intermediate_size", 3072),
        activation=table.activation("gelu"),
        epsilon=table.real("layer_norm_eps", 1e-12),
    )
    table.finish()
    return config


def vit_config(table: Table, mean: tuple[float, float, float], std: tuple[float, float, float]) -> VitConfig:
    """ViT's."""
    table.expect("num_channels", 3)
    table.expect("qkv_bias", True)
    config = VitConfig(
        side=table.number("image_size", 224),
        patch=table.number("patch_size", 16),
        width=table.number("hidden_size", 768),
        depth=table.number("num_hidden_layers", 12),
        heads=table.number("num_attention_heads", 12),
        hidden=table.number("intermediate_size", 3072),
        activation=table.activation("gelu"),
        epsilon=table.real("layer_norm_eps", 1e-12),
        mean=mean,
        std=std,
    )
    table.finish()
    return config


def clip_config(
    table: Table, kind: str, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> ClipConfig:
    """CLIP's, Chinese-CLIP's or SigLIP's, by ``model_type``."""
    siglip = kind == "siglip"
    vision = _vision(table.table("vision_config"), siglip, mean, std)
    text = table.table("text_config")
    dim = vision.width if siglip else table.number("projection_dim", 512)
    read = bert_config(text) if kind == "chinese_clip" else _text(text, siglip)
    if not siglip:
        table.number("projection_dim", 512)
    table.finish()
    return ClipConfig(vision=vision, text=read, dim=dim, image_projection=not siglip, text_bias=siglip)


def _vision(
    table: Table, siglip: bool, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> VitConfig:
    table.expect("num_channels", 3)
    table.expect("vision_use_head", True)
    table.number("projection_dim", 512)
    config = VitConfig(
        side=table.number("image_size", 224),
        patch=table.number("patch_size", 16 if siglip else 32),
        width=table.number("hidden_size", 768),
        depth=table.number("num_hidden_layers", 12),
        heads=table.number("num_attention_heads", 12),
        hidden=table.number("intermediate_size", 3072),
        activation=table.activation("gelu_pytorch_tanh" if siglip else "quick_gelu"),
        epsilon=table.real("layer_norm_eps", 1e-6 if siglip else 1e-5),
        pooling="map" if siglip else "class",
        class_token=not siglip,
        norm_first=not siglip,
        norm_last="states" if siglip else "pooled",
        patch_bias=siglip,
        mean=mean,
        std=std,
    )
    table.finish()
    return config


def _text(table: Table, siglip: bool) -> TextConfig:
    table.number("projection_dim", 512)
    config = TextConfig(
        vocabulary=table.number("vocab_size", 32_000 if siglip else 49_408),
        positions=table.number("max_position_embeddings", 64 if siglip else 77),
        width=table.number("hidden_size", 768 if siglip else 512),
        depth=table.number("num_hidden_layers", 12),
        heads=table.number("num_attention_heads", 12 if siglip else 8),
        hidden=table.number("intermediate_size", 3072 if siglip else 2048),
        activation=table.activation("gelu_pytorch_tanh" if siglip else "quick_gelu"),
        epsilon=table.real("layer_norm_eps", 1e-6 if siglip else 1e-5),
        causal=not siglip,
        padded=siglip,
        padding=table.number("pad_token_id", 1) if siglip else 0,
    )
    table.finish()
    return config


def gpt_config(table: Table) -> GptConfig:
    """GPT-2's."""
    table.expect("scale_attn_weights", True)
    table.expect("scale_attn_by_inverse_layer_idx", False)
    table.expect("reorder_and_upcast_attn", False)
    activation = table.activation("gelu_new", "activation_function")
    width = table.number("n_embd", 768)
    table.number("n_ctx", 1024)  # an old name of the positions
    config = GptConfig(
        vocabulary=table.number("vocab_size", 50_257),
        positions=table.number("n_positions", 1024),
        width=width,
        depth=table.number("n_layer", 12),
        heads=table.number("n_head", 12),
        hidden=table.number("n_inner", 4 * width),
        activation=activation,
        epsilon=table.real("layer_norm_epsilon", 1e-5),
    )
    table.finish()
    return config


def llama_config(table: Table, kind: str) -> LlamaConfig:
    """Llama's, or Qwen 2's with its bias; other angles than the plain ones are refused."""
    table.expect("hidden_act", "silu")
    table.expect("use_sliding_window", False)
    table.expect("mlp_bias", False)
    table.expect("pretraining_tp", 1)
    for ignored in ("sliding_window", "max_window_layers"):
        table.number(ignored, 0)
    table.skip("layer_types")
    bias = kind == "qwen2"
    table.expect("attention_bias", False)
    angles = table.table("rope_parameters")
    scaled = table.table("rope_scaling")
    for one in (angles, scaled):
        one.expect("rope_type", "default")
    base = angles.real("rope_theta", table.real("rope_theta", 10_000.0))
    angles.finish()
    scaled.finish()
    width, heads = table.number("hidden_size", 4096), table.number("num_attention_heads", 32)
    config = LlamaConfig(
        vocabulary=table.number("vocab_size", 32_000),
        positions=table.number("max_position_embeddings", 2048),
        width=width,
        depth=table.number("num_hidden_layers", 32),
        heads=heads,
        key_heads=table.number("num_key_value_heads", heads),
        head_width=table.number("head_dim", width // max(1, heads)),
        hidden=table.number("intermediate_size", 11_008),
        base=base,
        epsilon=table.real("rms_norm_eps", 1e-6),
        tied=table.flag("tie_word_embeddings", False),
        bias=bias,
    )
    table.finish()
    return config
