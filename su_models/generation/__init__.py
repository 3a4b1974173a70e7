"""Search for sequences: loops over a step of any model."""

from su_models.generation.beam_search import BeamSearch
from su_models.generation.greedy_search import GreedySearch
from su_models.generation.random_sampling import RandomSampling
from su_models.generation.trie import Trie

__all__ = [
    "BeamSearch",
    "GreedySearch",
    "RandomSampling",
    "Trie",
]
