"""Small models with random weights, one or more per architecture that Hearth knows, written as GGUF files.

The weights come from a fixed generator, so the same file is made everywhere; expected/NAME.json holds what the reference engine
(llama.cpp 0.7.0, F32 KV cache, flash attention off) computes for them, as goldens/engine of the shared goldens does.
Key and tensor names are facts of the GGUF format.
"""
import math
import struct

U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9


class Rng:
    """splitmix64; gauss is the sum of twelve uniforms minus six: exact in any language."""

    def __init__(self, seed):
        self.s = seed

    def unit(self):
        self.s = (self.s + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.s
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & (2**64 - 1)
        return ((z ^ z >> 31) >> 40) / 2**24

    def gauss(self):
        return self.unit() + self.unit() + self.unit() + self.unit() + self.unit() + self.unit() - 3.0


class Model:
    def __init__(self, arch, seed):
        self.arch, self.rng, self.kv, self.tensors = arch, Rng(seed), [], []
        self.set("general.architecture", STR, arch)
        self.set("general.name", STR, "random weights")

    def set(self, key, kind, value, element=None):
        self.kv.append((key, kind, value, element))

    def hp(self, key, kind, value, element=None):
        self.set(f"{self.arch}.{key}", kind, value, element)

    def tensor(self, name, *ne, scale=None, base=0.0):
        """ne[0] is the contiguous dimension. Default spread keeps activations near one."""
        n = math.prod(ne)
        if scale is None:
            scale = 1.4 / math.sqrt(ne[0])
        self.tensors.append((name, ne, [base + scale * self.rng.gauss() for _ in range(n)]))

    def norm(self, name, n):
        self.tensor(name, n, scale=0.2, base=1.0)

    def constant(self, name, values):
        self.tensors.append((name, (len(values),), list(values)))

    def write(self, path):
        def text(s):
            b = s if isinstance(s, bytes) else s.encode()
            return struct.pack("<Q", len(b)) + b

        def value(kind, v, element):
            if kind == U32:
                return struct.pack("<I", v)
            if kind == I32:
                return struct.pack("<i", v)
            if kind == F32:
                return struct.pack("<f", v)
            if kind == BOOL:
                return struct.pack("<B", v)
            if kind == STR:
                return text(v)
            return struct.pack("<IQ", element, len(v)) + b"".join(value(element, x, None) for x in v)

        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.kv))]
        for key, kind, v, element in self.kv:
            out += [text(key), struct.pack("<I", kind), value(kind, v, element)]
        offset = 0
        for name, ne, data in self.tensors:
            out += [text(name), struct.pack("<I", len(ne)), struct.pack(f"<{len(ne)}Q", *ne), struct.pack("<IQ", 0, offset)]
            offset += (len(data) * 4 + 31) // 32 * 32
        head = b"".join(out)
        with open(path, "wb") as f:
            f.write(head + b"\0" * (-len(head) % 32))
            for _, _, data in self.tensors:
                raw = struct.pack(f"<{len(data)}f", *data)
                f.write(raw + b"\0" * (-len(raw) % 32))


def spm_vocab(m):
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    words = ["\u2581", "e", "t", "a", "o", "i", "n", "s", "r", "h", "l", "d", "u", "c", "m", "w", "f", "g", "y", "p", "b",
             "\u2581t", "he", "\u2581the", "in", "er", "an", "on", "re", "\u2581a", "\u2581s", "\u2581w", "ou", "nd", "\u2581o", ".", ","]
    pieces += words
    kinds += [1] * len(words)
    scores = [0.0] * 259 + [-float(i) for i in range(len(words))]
    m.set("tokenizer.ggml.model", STR, "llama")
    m.set("tokenizer.ggml.tokens", ARR, pieces, STR)
    m.set("tokenizer.ggml.scores", ARR, scores, F32)
    m.set("tokenizer.ggml.token_type", ARR, kinds, I32)
    m.set("tokenizer.ggml.bos_token_id", U32, 1)
    m.set("tokenizer.ggml.eos_token_id", U32, 2)
    return len(pieces)


def wordpiece_vocab(m):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["\u2581" + c for c in "abcdefghijklmnopqrstuvwxyz.,!?"] + list(
        "abcdefghijklmnopqrstuvwxyz") + ["\u2581the", "\u2581house", "er", "ing", "ed"]
    m.set("tokenizer.ggml.model", STR, "bert")
    m.set("tokenizer.ggml.tokens", ARR, words, STR)
    m.set("tokenizer.ggml.token_type", ARR, [1] * len(words), I32)
    m.set("tokenizer.ggml.scores", ARR, [-1000.0] * len(words), F32)
    m.set("tokenizer.ggml.token_type_count", U32, 2)
    m.set("tokenizer.ggml.unknown_token_id", U32, 1)
    m.set("tokenizer.ggml.cls_token_id", U32, 2)
    m.set("tokenizer.ggml.bos_token_id", U32, 2)
    m.set("tokenizer.ggml.seperator_token_id", U32, 3)
    m.set("tokenizer.ggml.eos_token_id", U32, 3)
    m.set("tokenizer.ggml.padding_token_id", U32, 0)
    m.set("tokenizer.ggml.mask_token_id", U32, 4)
    return len(words)


def decoder(arch, seed, layers=3, width=64, heads=4, kv_heads=2, head_dim=16, ffn=96, context=512, rope_base=10000.0, bias=False,
            qk_norm=False, head_dim_keys=True, fused=False, ffn_kind="gated", post_norms=False, tied=False, sinks=False,
            experts=0, used=2, expert_ffn=48, shared_ffn=0, expert_bias=False, out_bias=False, eps=1e-5, rope_dim=True, post_attn="ffn_norm",
            n_vocab=None, heads_of_layer=None):
    """The parts that decoders share; what differs comes as keyword arguments and from the callers below."""
    m = Model(arch, seed)
    m.hp("context_length", U32, context)
    m.hp("embedding_length", U32, width)
    m.hp("block_count", U32, layers)
    m.hp("feed_forward_length", U32, ffn)
    m.hp("attention.head_count", U32, heads)
    m.hp("attention.head_count_kv", U32, kv_heads)
    m.hp("attention.layer_norm_rms_epsilon", F32, eps)
    m.hp("rope.freq_base", F32, rope_base)
    if head_dim_keys:
        m.hp("attention.key_length", U32, head_dim)
        m.hp("attention.value_length", U32, head_dim)
    if rope_dim:
        m.hp("rope.dimension_count", U32, head_dim)
    if experts:
        m.hp("expert_count", U32, experts)
        m.hp("expert_used_count", U32, used)
        m.hp("expert_feed_forward_length", U32, expert_ffn)
    if shared_ffn:
        m.hp("expert_shared_feed_forward_length", U32, shared_ffn)
    vocab = spm_vocab(m)
    m.tensor("token_embd.weight", width, vocab, scale=1.0)
    q, kv = heads * head_dim, kv_heads * head_dim
    for i in range(layers):
        b = f"blk.{i}."
        m.norm(b + "attn_norm.weight", width)
        if fused:
            m.tensor(b + "attn_qkv.weight", width, q + 2 * kv)
        else:
            for name, n in (("q", q), ("k", kv), ("v", kv)):
                m.tensor(f"{b}attn_{name}.weight", width, n)
                if bias:
                    m.tensor(f"{b}attn_{name}.bias", n, scale=0.3)
        if qk_norm:
            m.norm(b + "attn_q_norm.weight", head_dim)
            m.norm(b + "attn_k_norm.weight", head_dim)
        m.tensor(b + "attn_output.weight", q, width)
        if out_bias:
            m.tensor(b + "attn_output.bias", width, scale=0.3)
        if sinks:
            m.tensor(b + "attn_sinks.weight", heads, scale=1.0)
        if post_norms:
            m.norm(b + "post_attention_norm.weight", width)
            m.norm(b + "post_ffw_norm.weight", width)
        m.norm(f"{b}{post_attn}.weight", width)
        if experts:
            m.tensor(b + "ffn_gate_inp.weight", width, experts, scale=0.6)
            if expert_bias:
                m.tensor(b + "ffn_gate_inp.bias", experts, scale=0.3)
            for name, ne in (("gate", (width, expert_ffn)), ("up", (width, expert_ffn)), ("down", (expert_ffn, width))):
                m.tensor(f"{b}ffn_{name}_exps.weight", *ne, experts)
                if expert_bias:
                    m.tensor(f"{b}ffn_{name}_exps.bias", ne[1], experts, scale=0.3)
            if shared_ffn:
                m.tensor(b + "ffn_gate_inp_shexp.weight", width)
                m.tensor(b + "ffn_gate_shexp.weight", width, shared_ffn)
                m.tensor(b + "ffn_up_shexp.weight", width, shared_ffn)
                m.tensor(b + "ffn_down_shexp.weight", shared_ffn, width)
        elif ffn_kind == "fused":
            m.tensor(b + "ffn_up.weight", width, 2 * ffn)
            m.tensor(b + "ffn_down.weight", ffn, width)
        else:
            m.tensor(b + "ffn_gate.weight", width, ffn)
            m.tensor(b + "ffn_up.weight", width, ffn)
            m.tensor(b + "ffn_down.weight", ffn, width)
    m.norm("output_norm.weight", width)
    if not tied:
        m.tensor("output.weight", width, vocab)
    return m


def bert(arch, seed, width=48, layers=2, heads=4, ffn=80, pooling=1):
    m = Model(arch, seed)
    m.hp("context_length", U32, 128)
    m.hp("embedding_length", U32, width)
    m.hp("block_count", U32, layers)
    m.hp("feed_forward_length", U32, ffn)
    m.hp("attention.head_count", U32, heads)
    m.hp("attention.layer_norm_epsilon", F32, 1e-12)
    m.hp("attention.causal", BOOL, False)
    m.hp("pooling_type", U32, pooling)
    if arch == "nomic-bert":
        m.hp("rope.freq_base", F32, 1000.0)
    vocab = wordpiece_vocab(m)
    m.tensor("token_embd.weight", width, vocab, scale=1.0)
    m.tensor("token_types.weight", width, 2, scale=0.5)
    if arch == "bert":
        m.tensor("position_embd.weight", width, 128, scale=0.5)

    def layer_norm(name):
        m.norm(name + ".weight", width)
        m.tensor(name + ".bias", width, scale=0.2)

    layer_norm("token_embd_norm")
    for i in range(layers):
        b = f"blk.{i}."
        if arch == "bert":
            for n in "qkv":
                m.tensor(f"{b}attn_{n}.weight", width, width)
                m.tensor(f"{b}attn_{n}.bias", width, scale=0.3)
        else:
            m.tensor(b + "attn_qkv.weight", width, 3 * width)
        m.tensor(b + "attn_output.weight", width, width)
        if arch == "bert":
            m.tensor(b + "attn_output.bias", width, scale=0.3)
        layer_norm(b + "attn_output_norm")
        m.tensor(b + "ffn_up.weight", width, ffn)
        if arch == "bert":
            m.tensor(b + "ffn_up.bias", ffn, scale=0.3)
        else:
            m.tensor(b + "ffn_gate.weight", width, ffn)
        m.tensor(b + "ffn_down.weight", ffn, width)
        if arch == "bert":
            m.tensor(b + "ffn_down.bias", width, scale=0.3)
        layer_norm(b + "layer_output_norm")
    return m


def build():
    """name -> Model, in a fixed order."""
    all_models = {}

    def add(name, m):
        all_models[name] = m
        return m

    add("llama", decoder("llama", 1))
    m = add("llama-rope-linear", decoder("llama", 2))
    m.hp("rope.scaling.type", STR, "linear")
    m.hp("rope.scaling.factor", F32, 4.0)
    m = add("llama-yarn", decoder("llama", 3, context=1024))
    m.hp("rope.scaling.type", STR, "yarn")
    m.hp("rope.scaling.factor", F32, 8.0)
    m.hp("rope.scaling.original_context_length", U32, 128)
    m = add("llama-rope-factors", decoder("llama", 4))
    m.constant("rope_freqs.weight", [1.0, 1.0, 1.0, 1.5, 3.0, 8.0, 8.0, 8.0])
    add("llama-wide-heads", decoder("llama", 5, head_dim=24, heads=4, kv_heads=1))
    add("mixtral", decoder("llama", 7, experts=4, expert_ffn=96))
    add("smollm3", decoder("smollm3", 8, layers=5))
    add("qwen2", decoder("qwen2", 9, bias=True, head_dim_keys=False, rope_dim=False))
    add("qwen3", decoder("qwen3", 10, qk_norm=True, head_dim=24, rope_dim=False, tied=True))
    add("qwen2moe", decoder("qwen2moe", 11, bias=True, experts=4, shared_ffn=40, head_dim_keys=False, rope_dim=False))
    add("qwen3moe", decoder("qwen3moe", 12, qk_norm=True, experts=6, used=3, rope_dim=False))
    m = add("gemma2", decoder("gemma2", 13, layers=4, tied=True, post_norms=True, eps=1e-6))
    m.hp("attention.sliding_window", U32, 16)
    m.hp("attn_logit_softcapping", F32, 50.0)
    m.hp("final_logit_softcapping", F32, 30.0)
    m = add("gemma3", decoder("gemma3", 14, layers=7, tied=True, post_norms=True, qk_norm=True, eps=1e-6, rope_base=1000000.0))
    m.hp("attention.sliding_window", U32, 12)
    m = add("gemma3-scaled", decoder("gemma3", 15, layers=7, tied=True, post_norms=True, qk_norm=True, eps=1e-6, rope_base=1000000.0))
    m.hp("attention.sliding_window", U32, 12)
    m.hp("rope.scaling.type", STR, "linear")
    m.hp("rope.scaling.factor", F32, 8.0)
    add("phi3", decoder("phi3", 16, fused=True, ffn_kind="fused", head_dim_keys=False))
    # A context beyond the original one takes the long factors, whatever the text's length.
    for name, original in (("phi3-longrope", 64), ("phi3-shortrope", 2048)):
        m = add(name, decoder("phi3", 17, fused=True, ffn_kind="fused", head_dim_keys=False, context=4096))
        m.hp("rope.scaling.original_context_length", U32, original)
        m.hp("rope.scaling.attn_factor", F32, 1.19)
        m.constant("rope_factors_long.weight", [1.0, 1.2, 1.5, 2.0, 4.0, 8.0, 16.0, 24.0])
        m.constant("rope_factors_short.weight", [1.0, 1.0, 1.1, 1.1, 1.2, 1.3, 1.4, 1.5])
    m = add("gpt-oss", decoder("gpt-oss", 18, layers=4, bias=True, out_bias=True, sinks=True, experts=4, expert_bias=True,
                               post_attn="post_attention_norm", rope_base=150000.0, context=4096, rope_dim=False))
    m.hp("attention.sliding_window", U32, 16)
    m.hp("rope.scaling.type", STR, "yarn")
    m.hp("rope.scaling.factor", F32, 32.0)
    m.hp("rope.scaling.original_context_length", U32, 128)
    m = add("granite", decoder("granite", 19))
    m = add("granitemoe", decoder("granitemoe", 20, experts=4, expert_ffn=96))
    for name in ("granite", "granitemoe"):
        m = all_models[name]
        m.hp("attention.scale", F32, 0.08)
        m.hp("embedding_scale", F32, 6.0)
        m.hp("residual_scale", F32, 0.3)
        m.hp("logit_scale", F32, 4.0)
    add("bert", bert("bert", 21))
    add("bert-cls", bert("bert", 22, pooling=2))
    add("nomic-bert", bert("nomic-bert", 23))
    return all_models


TEXT = "The house was warm, and the other one stood in the rain. Where are the old stones? On a wet road, under the dead tree."
EMBEDDINGS = {"bert", "bert-cls", "nomic-bert"}
