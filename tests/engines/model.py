"""Writes a language model of random weights, about 1 MB, in the form that one engine reads:

    python model.py gguf  FILE.gguf     for llama.cpp, needs the package gguf
    python model.py hf    FOLDER        for vLLM, needs the package safetensors

It speaks nonsense, always the same. Its words are whole ASCII words, and it never ends
by itself: only a word that stands for the end, forced with logit_bias, does (see EOS).
"""

import json
import pathlib
import sys

import numpy

LAYERS, HEADS, HEAD, FORWARD, CONTEXT = 2, 2, 64, 128, 32768
HIDDEN = HEADS * HEAD
EPSILON, THETA = 1e-5, 10000.0
BOS, EOS, CALL = SPECIAL = "<|im_start|>", "<|im_end|>", "<tool_call>\n"
WORDS = """the of and to in is it you that was for on are with as his they be at one have this from
or had by hot but some what there we can out other were all your when up use word how said an each""".split()
# ChatML, and tool calls as Hermes and Qwen write them: both engines know how to read those.
TEMPLATE = (pathlib.Path(__file__).parent / "chat.jinja").read_text()


def bytes_as_text():
    """The letter that byte-level BPE writes for each byte, as GPT-2 does."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    for b in range(256):
        letters.setdefault(b, chr(256 + len(letters) - len(plain)))
    return [letters[b] for b in range(256)]


def vocabulary():
    """Tokens in the order of their numbers, the merges that make them, and which are whole words."""
    tokens = [*SPECIAL, *bytes_as_text()]
    space = bytes_as_text()[32]
    merges, words = [], []
    for word in WORDS:
        have = space
        for letter in word:
            if have + letter not in tokens:
                tokens.append(have + letter)
                merges.append((have, letter))
            have += letter
        words.append(tokens.index(have))
    return tokens, merges, words


def weights(size, words):
    """Name to matrix, named as in GGUF."""
    random = numpy.random.default_rng(1)

    def matrix(rows, columns, scale=0.1):
        return (random.standard_normal((rows, columns)) * scale).astype(numpy.float32)

    ones = numpy.ones(HIDDEN, dtype=numpy.float32)
    # What is no word gets the same small chance always, a word a large one that changes.
    output = numpy.zeros((size, HIDDEN), dtype=numpy.float32)
    output[words] = matrix(len(words), HIDDEN, 0.5)
    tensors = {"token_embd": matrix(size, HIDDEN, 1), "output_norm": ones, "output": output}
    for n in range(LAYERS):
        tensors |= {
            f"blk.{n}.attn_norm": ones,
            f"blk.{n}.attn_q": matrix(HIDDEN, HIDDEN),
            f"blk.{n}.attn_k": matrix(HIDDEN, HIDDEN),
            f"blk.{n}.attn_v": matrix(HIDDEN, HIDDEN),
            f"blk.{n}.attn_output": matrix(HIDDEN, HIDDEN),
            f"blk.{n}.ffn_norm": ones,
            f"blk.{n}.ffn_gate": matrix(FORWARD, HIDDEN),
            f"blk.{n}.ffn_up": matrix(FORWARD, HIDDEN),
            f"blk.{n}.ffn_down": matrix(HIDDEN, FORWARD),
        }
    return tensors


def write_gguf(path):
    import gguf

    tokens, merges, words = vocabulary()
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FORWARD)
    w.add_head_count(HEADS)
    w.add_rope_dimension_count(HEAD)
    w.add_rope_freq_base(THETA)
    w.add_layer_norm_rms_eps(EPSILON)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t in (BOS, EOS) else gguf.TokenType.USER_DEFINED if t == CALL else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_bos_token_id(tokens.index(BOS))
    w.add_eos_token_id(tokens.index(EOS))
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    for name, tensor in weights(len(tokens), words).items():
        w.add_tensor(name + ".weight", tensor)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_hf(path):
    from safetensors.numpy import save_file

    tokens, merges, words = vocabulary()
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }

    def named(name):
        if not name.startswith("blk."):
            return names[name] + ".weight"
        _, n, rest = name.split(".")
        return f"model.layers.{n}.{names[rest]}.weight"

    tensors = {named(name): tensor for name, tensor in weights(len(tokens), words).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    bos, eos = tokens.index(BOS), tokens.index(EOS)

    def write(name, value):
        (folder / name).write_text(json.dumps(value, indent=1))

    write("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "hidden_size": HIDDEN, "intermediate_size": FORWARD, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": HEAD, "hidden_act": "silu",
        "vocab_size": len(tokens), "max_position_embeddings": CONTEXT, "rms_norm_eps": EPSILON,
        "rope_theta": THETA, "tie_word_embeddings": False, "bos_token_id": bos, "eos_token_id": eos,
    })
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write("tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": t != CALL} for i, t in enumerate(SPECIAL)
        ],
        "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level,
        "post_processor": None,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [list(m) for m in merges],
        },
    })
    write("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "model_max_length": CONTEXT, "chat_template": TEMPLATE,
    })


if __name__ == "__main__":
    form, path = sys.argv[1:]
    {"gguf": write_gguf, "hf": write_hf}[form](path)
