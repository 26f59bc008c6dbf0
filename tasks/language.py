"""The language tasks of KOSMOS-1 (arXiv 2302.14045, table 13) and KOSMOS-2: is language kept?"""

from kosmos_eval import LanguageTask


class StoryCloze(LanguageTask):
    """Which sentence ends a story of four (Mostafazadeh et al. 2016)."""

    name = "storycloze"
    splits = {"eval": "test", "demos": "train"}
    official_counts = {"test": 1_871}
    layout = "storycloze.jsonl of {query, choices, gold}, and storycloze_train.jsonl for demonstrations if there is one"


class HellaSwag(LanguageTask):
    """Which text goes on (Zellers et al. 2019)."""

    name = "hellaswag"
    official_counts = {"validation": 10_042}
    layout = "hellaswag.jsonl of {query, choices, gold}, and hellaswag_train.jsonl for demonstrations if there is one"


class Winograd(LanguageTask):
    """Winograd schemas (Levesque et al. 2012), 273 of them. KOSMOS-1's figures are shares of 285."""

    name = "winograd"
    splits = {"eval": "test", "demos": "train"}
    official_counts = {"test": 273}
    stem = "winograd_wsc"
    layout = "winograd_wsc.jsonl of {context_options, continuation, gold}"


class Winogrande(LanguageTask):
    """Schemas made adversarially (Sakaguchi et al. 2020)."""

    name = "winogrande"
    official_counts = {"validation": 1_267}
    layout = (
        "winogrande.jsonl of {context_options, continuation, gold}, "
        "and winogrande_train.jsonl for demonstrations if there is one"
    )


class Piqa(LanguageTask):
    """Which way of doing a thing works (Bisk et al. 2020)."""

    name = "piqa"
    official_counts = {"validation": 1_838}
    layout = "piqa.jsonl of {query, choices, gold}, and piqa_train.jsonl for demonstrations if there is one"


class BoolQ(LanguageTask):
    """Yes or no, from a passage (Clark et al. 2019)."""

    name = "boolq"
    official_counts = {"validation": 3_270}
    layout = "boolq.jsonl of {query, choices, gold}, and boolq_train.jsonl for demonstrations if there is one"


class CommitmentBank(LanguageTask):
    """Does a text entail a statement, contradict it, or neither (de Marneffe et al. 2019, of SuperGLUE)?"""

    name = "cb"
    official_counts = {"validation": 56}
    layout = "cb.jsonl of {query, choices, gold}, and cb_train.jsonl for demonstrations if there is one"


class Copa(LanguageTask):
    """Which of two is the cause, or the effect (Roemmele et al. 2011, of SuperGLUE)?"""

    name = "copa"
    official_counts = {"validation": 100}
    layout = "copa.jsonl of {query, choices, gold}, and copa_train.jsonl for demonstrations if there is one"
