from su_models.checkpoints.families.gau_alpha import GAU_ALPHA


def test_names_of_the_authors():
    names = GAU_ALPHA.names(GAU_ALPHA.columns[0], 2)
    assert {name for name in names if "mapping" not in name} == {
        "GAU_alpha/embeddings/word_embeddings",
        "GAU_alpha/embeddings/token_type_embeddings",
        *(
            f"GAU_alpha/encoder/layer_{i}/gau/{name}"
            for i in range(2)
            for name in (
                "i_dense/kernel",
                "o_dense/kernel",
                "q_scaleoffset/gamma",
                "k_scaleoffset/gamma",
            )
        ),
    }


def test_names_in_pytorch():
    names = GAU_ALPHA.names(GAU_ALPHA.columns[1], 2)
    assert "gau_alpha.encoder.layer.1.gau.i_dense.weight" in names
    assert "gau_alpha.embeddings.word_embeddings.weight" in names
