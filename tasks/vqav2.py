"""VQAv2: open-ended questions on COCO photographs (Goyal et al. 2017), as downloaded from https://visualqa.org."""

from kosmos_eval import ConstantBaseline, DataError, VqaAccuracy, VqaTask


class VQAv2(VqaTask):
    """A sample's id is its question_id. Answers of the test splits are not public: val2014 is the default."""

    name = "vqav2"
    splits = {"eval": "val2014", "demos": "train2014"}
    metrics = (VqaAccuracy(), VqaAccuracy.normalised(), ConstantBaseline())
    official_counts = {"train2014": 443_757, "val2014": 214_354, "test-dev2015": 107_394, "test2015": 447_793}
    layout = (
        "v2_OpenEnded_mscoco_{split}_questions.json and v2_mscoco_{split}_annotations.json, "
        "with COCO images {split}/COCO_{split}_{image_id:012d}.jpg (test-dev2015: folder test2015)"
    )
    questions_stem = "v2_OpenEnded_mscoco_{split}_questions"
    annotations_stem = "v2_mscoco_{split}_annotations"

    def image_name(self, split: str, image_id: str) -> str:
        if not image_id.isdecimal():
            raise DataError(f"image_id {image_id!r} is not a COCO image id")
        folder = "test2015" if split == "test-dev2015" else split
        return f"{folder}/COCO_{folder}_{image_id:0>12}.jpg"
