"""CSV with a header, read into editvc's own schema."""

from __future__ import annotations

import pytest
from fact_records import EXAMPLES, read, refused

from editvc.core.fact_files.reader import FactFileError, examined, read_facts
from editvc.core.facts import Fact

HEAD = "subject,prompt,target_new"
PERU = Fact(
    subject="Peru",
    prompt="The capital of {} is",
    target_new="Cusco",
    target_true="Lima",
    paraphrases=("The seat of Peru's government is in", "Peru, a country, has its capital in"),
    tags=("example", "made up"),
)
CHILE = Fact(subject="Chile", prompt="The capital of {} is", target_new="Arica")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", ["f.csv", "F.CSV", "-"])
def test_csv(mark, end, name):
    data = mark + (EXAMPLES / "facts.csv").read_bytes().replace(b"\n", end)
    found = read_facts([(name, data)])
    assert [item.fact for item in found] == [PERU, CHILE]
    assert [(item.line, item.record) for item in found] == [(2, 1), (3, 2)]


def test_a_cell_may_hold_line_breaks_commas_and_quotes_and_rows_may_be_empty():
    text = f'{HEAD}\n\n"Per""u","a,\n\n{{}} is",x\n,,\nChile,{{}} is,y\n'
    found = read(text)
    assert [(item.line, item.record) for item in found] == [(3, 1), (7, 2)]
    assert (found[0].fact.subject, found[0].fact.prompt) == ('Per"u', "a,\n\n{} is")


def test_a_prompt_may_name_the_subject_in_words_as_in_json():
    assert read(f"{HEAD}\nPeru,The capital of Peru is,Cusco")[0].fact.prompt == PERU.prompt


def test_columns_stand_in_any_order():
    assert read("target_new,prompt,subject\nArica,The capital of {} is,Chile")[0].fact == CHILE


BROKEN = {
    "an unclosed quote": (f'{HEAD}\na,{{}} b,c\n\n"d,{{}} e,f\ng', 4, None, "is not CSV"),
    "text after a quote": (f'{HEAD}\n"a"b,{{}} b,c', 2, None, "is not CSV"),
    "a comma too many": (f"{HEAD}\na,{{}} is, b,c", 2, None, "4 cells under 3 columns"),
    "a cell too few": (f"{HEAD}\na,{{}} is", 2, None, "2 cells under 3 columns"),
    "an empty target": (f"{HEAD}\na,{{}} is, ", 2, "target_new", "is empty"),
    "no placeholder": (f"{HEAD},tags\na,b is,c,d", 2, "prompt", "exactly one {}"),
    "nothing between separators": (f"{HEAD},tags\na,{{}},c,x||y", 2, "tags[1]", "is empty"),
    "no rows": (f"\n{HEAD}\n", 2, None, "no row below"),
    "an unknown column": (f"{HEAD},paraphrase\na,{{}},c,d", 1, "paraphrase", "is no field"),
    "a column twice": (f"{HEAD},prompt\na,{{}},c,d", 1, "prompt", "stands twice in the header"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_csv_names_its_line_and_column(name):
    text, line, field, problem = BROKEN[name]
    error = refused(text)
    assert (error.line, error.field, error.others) == (line, field, ())
    assert problem in error.problem and error.hint


def test_a_csv_file_is_known_by_its_name_where_its_header_is_wrong():
    for text, problem in (("", "is empty"), ("subjct,prompt,target_new\n", "is missing")):
        with pytest.raises(FactFileError, match=problem):
            read_facts([("f.csv", text)])


def test_every_bad_row_is_told_and_the_good_ones_are_read():
    reading = examined([("f", f"{HEAD}\na,{{}},c\nb,c\nd,{{}},\ne,{{}},f\n")])
    assert [item.line for item in reading.facts] == [2, 5]
    assert [each.line for each in reading.problems] == [3, 4]
