"""tinymixer models."""


def test_the_list(tinymixer):
    rows = {row["name"]: row for row in tinymixer("models", "--json").json}
    assert list(rows)[:8] == ["S/32", "S/16", "S/8", "B/32", "B/16", "L/32", "L/16", "H/14"]
    assert (rows["ViT-S/16"]["parameters_with_head"], rows["ViT-S/16"]["tokens_mlp_dim"]) == (22_050_664, None)
    assert rows["ViT-nano"]["num_classes"] == 10
    assert (rows["ResNet-50"]["parameters_with_head"], rows["ResNet-50"]["tokens"]) == (25_557_032, None)
    assert rows["ResNet-18"]["multiply_adds"] == 1_814_073_344
    assert rows["H/14"]["parameters"] == 431_069_952
    b16 = rows["B/16"]
    assert (b16["parameters"], b16["parameters_with_head"], b16["num_classes"]) == (59_111_472, 59_880_472, 1000)
    assert (b16["layers"], b16["tokens"], b16["hidden_dim"], b16["tokens_mlp_dim"], b16["channels_mlp_dim"]) == (
        12, 196, 768, 384, 3072,
    )  # fmt: skip
    assert b16["multiply_adds"] == 12_601_767_936
    assert b16["weights_bytes"] == 4 * 59_880_472
    text = tinymixer("models").out
    assert max(map(len, text.split("Images of")[0].splitlines())) <= 79  # an ordinary terminal shows the whole table
    assert "59,111,472" in text
    assert "L/16: as published, less accurate on ImageNet-1k than B/16" in text


def test_one_model_with_the_shapes_of_its_layers(tinymixer):
    lines = tinymixer("models", "B/16").out.splitlines()
    (blocks,) = [number for number, line in enumerate(lines) if "blocks.0-11" in line]
    (token_mixing,) = [number for number, line in enumerate(lines) if "token_mixing" in line]
    assert token_mixing > blocks
    for part in ("196 x 768", "weight1 384 x 196", "1,813,296", "1.4 G"):
        assert part in lines[token_mixing]
    assert "weight2 196 x 384" in lines[token_mixing + 2]
    assert "59,880,472" in next(line for line in lines if line.strip().startswith("all"))
    found = tinymixer("models", "s-32", "--num-classes", "10", "--json").json
    assert (found["name"], found["parameters_with_head"]) == ("S/32", 18_591_624 + 5130)
    assert found["layer_rows"][0]["weights"] == {"weight": [3072, 512], "bias": [512]}
    assert tinymixer("models", "B/15").is_error("no preset 'B/15'", "Did you mean 'B/1")


def test_a_picture_of_one_model(tinymixer, tmp_path):
    written = tinymixer("models", "R18-nano", "--num-classes", "7", "--picture", "resnet.svg")
    assert (written.code, written.err) == (0, "")
    assert "picture drawn in resnet.svg: ResNet, 1,094,267 parameters: image, 32 x 32 x 3" in written.out
    assert "head, a Linear, gives 7." in (tmp_path / "resnet.svg").read_text(encoding="utf-8")
    as_json = tinymixer("models", "S/32", "--json", "--picture", "mixer.PNG")
    assert as_json.json["name"] == "S/32"
    assert "picture drawn in mixer.PNG: MLP-Mixer" in as_json.err
    assert (tmp_path / "mixer.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn(tinymixer):
    assert tinymixer("models", "--picture", "all.svg").is_error("expected its name, such as 'tinymixer models B/16")
    refused = tinymixer("models", "S/32", "--picture", "mixer.pdf")
    assert refused.is_error("expected a file name ending in .svg or .png, got 'mixer.pdf'")
    assert refused.out == ""
    unwritable = tinymixer("models", "S/32", "--picture", "missing/mixer.svg")
    assert unwritable.is_error("missing/mixer.svg could not be saved", "nothing was written")
    assert "token_mixing" in unwritable.out  # the layers are listed all the same
