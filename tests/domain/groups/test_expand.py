"""The group spec and its expansion."""

import time
from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.errors import InvalidRequest, field_errors
from cortex.domain.groups.expand import ExpandedJob, GroupSpec, expand


def made(**fields: Any) -> list[ExpandedJob]:
    return expand(GroupSpec.model_validate(fields))


def wrong(**fields: Any) -> dict[str, str]:
    """Field and message of everything that is wrong."""
    try:
        spec = GroupSpec.model_validate(fields)
    except ValidationError as error:
        return {field.field: field.message for field in field_errors(error)}
    with pytest.raises(InvalidRequest) as caught:
        expand(spec)
    return {error.field: error.message for error in caught.value.errors}


def job(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["true"], **fields}


class TestMembers:
    def test_a_lone_job_keeps_its_name(self) -> None:
        (only,) = made(name="g", jobs=[job("prep")])
        assert (only.name, only.array, only.index, only.count) == ("prep", "prep", 0, 1)
        assert only.spec.name == "prep"
        assert only.spec.env == {
            "CORTEX_GROUP_NAME": "g",
            "CORTEX_MEMBER": "prep",
            "CORTEX_INDEX": "0",
            "CORTEX_COUNT": "1",
        }

    def test_count_makes_an_array(self) -> None:
        members = made(jobs=[job("train", count=3)])
        assert [member.name for member in members] == ["train[0]", "train[1]", "train[2]"]
        assert [member.spec.name for member in members] == ["train-0", "train-1", "train-2"]
        assert [member.spec.env["CORTEX_INDEX"] for member in members] == ["0", "1", "2"]
        assert {member.spec.env["CORTEX_COUNT"] for member in members} == {"3"}

    def test_an_array_of_one_is_an_array(self) -> None:
        assert [member.name for member in made(jobs=[job("a", count=1)])] == ["a[0]"]

    def test_matrix_makes_every_combination_in_order(self) -> None:
        members = made(jobs=[job("t", matrix={"lr": [0.1, 0.01], "seed": [1, 2], "on": [True]})])
        assert [member.name for member in members] == [
            "t[lr=0.1,seed=1,on=true]",
            "t[lr=0.1,seed=2,on=true]",
            "t[lr=0.01,seed=1,on=true]",
            "t[lr=0.01,seed=2,on=true]",
        ]
        assert members[2].params == {"lr": "0.01", "seed": "1", "on": "true"}
        assert members[2].spec.env["CORTEX_PARAM_LR"] == "0.01"
        assert members[2].spec.name == "t-2"

    @pytest.mark.parametrize("value", ["a,b", "x" * 40, "", "a]b", "a b"])
    def test_values_that_would_be_misread_stay_out_of_names(self, value: str) -> None:
        members = made(jobs=[job("t", matrix={"p": [value, "b"]})])
        assert [member.name for member in members] == ["t[0]", "t[1]"]
        assert members[0].spec.env["CORTEX_PARAM_P"] == value

    def test_a_placeholder_in_the_name(self) -> None:
        members = made(
            jobs=[job("train-{lr}", matrix={"lr": [1, 2]}), job("report", after=["train"])]
        )
        assert [member.spec.name for member in members] == ["train-1", "train-2", "report"]
        assert members[2].needs == ("train[lr=1]", "train[lr=2]")

    def test_a_thousand_members_are_quick(self) -> None:
        begin = time.process_time()
        members = made(jobs=[job("a", count=999), job("z", after="a")])
        assert len(members) == 1000
        assert len(members[-1].needs) == 999
        assert time.process_time() - begin < 2

    def test_defaults_stand_under_each_job(self) -> None:
        first, second = made(
            labels={"team": "x"},
            defaults={
                "image": "busybox",
                "env": {"A": "1", "B": "1"},
                "resources": {"cpu": 1, "memory": "1Gi"},
                "labels": {"kind": "d"},
            },
            jobs=[
                {"name": "a", "env": {"B": 2}, "resources": {"cpu": 2}, "labels": {"kind": "own"}},
                {"name": "b", "image": None, "command": ["ls"]},
            ],
        )
        assert (first.spec.env["A"], first.spec.env["B"]) == ("1", "2")
        assert first.spec.resources.cpu == 2
        assert first.spec.resources.memory == 2**30
        assert first.spec.labels == {"team": "x", "kind": "own"}
        assert second.spec.image is None
        assert second.spec.labels == {"team": "x", "kind": "d"}


class TestPlaceholders:
    def test_they_are_replaced_where_texts_are(self) -> None:
        members = made(
            name="g",
            jobs=[
                job(
                    "t",
                    command=["run", "{index}/{count}", "{member}"],
                    args=["--lr={lr}", "{group}"],
                    env={"OUT": "o{index}"},
                    outputs=["out-{index}"],
                    labels={"lr": "{lr}"},
                    matrix={"lr": ["a", "b"]},
                )
            ],
        )
        spec = members[1].spec
        assert spec.command == ("run", "1/2", "t[lr=b]")
        assert spec.args == ("--lr=b", "g")
        assert spec.env["OUT"] == "o1"
        assert spec.outputs == ("out-1",)
        assert spec.labels == {"lr": "b"}

    @pytest.mark.parametrize(
        ("text", "becomes"),
        [
            ("{{index}}", "{index}"),
            ("${index}", "${index}"),
            ("${{index}}", "${index}"),
            ("awk '{print $1}'", "awk '{print $1}'"),
            ('{"a": {"b": {member}}}', '{"a": {"b": a}}'),
            ('f"{index} of {count}"', 'f"{index} of {count}"'),
            ("{}", "{}"),
            ("{ index }", "{ index }"),
            ("{{{index}}}", "{{index}}"),
            ("{{ .Name }}", "{{ .Name }}"),
        ],
    )
    def test_other_braces_stay(self, text: str, becomes: str) -> None:
        (only,) = made(jobs=[job("a", command=["x", text])])
        assert only.spec.command[1] == becomes

    def test_unknown_ones_are_named(self) -> None:
        errors = wrong(jobs=[job("a"), job("b", command=["echo", "{x}"], matrix={"lr": [1]})])
        assert list(errors) == ["jobs[1].command"]
        assert errors["jobs[1].command"].startswith("`{x}` is no placeholder here")
        assert "`{lr}`" in errors["jobs[1].command"]
        assert "`{{x}}`" in errors["jobs[1].command"]


class TestNeeds:
    def test_gangs_are_those_that_need_the_same(self) -> None:
        members = made(
            jobs=[
                job("a"),
                job("b"),
                job("c", count=2, after=["a", "b"]),
                job("d", after=["b", "a"]),
                job("e", after=["c[1]"]),
            ]
        )
        assert [member.gang for member in members] == [0, 0, 1, 1, 1, 2]
        assert members[5].needs == ("c[1]",)

    def test_one_of_an_array_for_each_index(self) -> None:
        members = made(jobs=[job("a", count=2), job("b", count=2, after=["a[{index}]"])])
        assert [member.needs for member in members] == [(), (), ("a[0]",), ("a[1]",)]

    def test_what_is_not_there(self) -> None:
        errors = wrong(
            jobs=[job("a", count=2), job("b", after=["x"]), job("c", after=["a[7]", "b[0]"])]
        )
        assert errors["jobs[1].after"] == "there is no job `x`; known are `a`, `b`, `c`"
        assert errors["jobs[2].after"].startswith("there is no job `")

    def test_a_cycle_is_printed(self) -> None:
        errors = wrong(
            jobs=[job("z"), job("a", after="b"), job("b", after="c"), job("c", after="a")]
        )
        assert errors == {"jobs[1].after": "the jobs wait for each other: a -> b -> c -> a"}

    def test_a_cycle_behind_a_path(self) -> None:
        errors = wrong(jobs=[job("z", after="a"), job("a", after=["b"]), job("b", after=["a"])])
        assert errors == {"jobs[1].after": "the jobs wait for each other: a -> b -> a"}

    def test_a_diamond_is_no_cycle(self) -> None:
        members = made(
            jobs=[job("a"), job("b", after="a"), job("c", after="a"), job("d", after=["b", "c"])]
        )
        assert [member.gang for member in members] == [0, 1, 1, 2]

    @pytest.mark.parametrize("name", ["a", "a[0]"])
    def test_itself(self, name: str) -> None:
        assert wrong(jobs=[job("a", count=2, after=[name])]) == {
            "jobs[0].after": "`a` cannot need itself"
        }

    def test_a_long_chain(self) -> None:
        jobs = [job("a0"), *(job(f"a{n}", after=f"a{n - 1}") for n in range(1, 1000))]
        assert made(jobs=jobs)[-1].gang == 999

    def test_two_large_arrays(self) -> None:
        errors = wrong(jobs=[job("a", count=500), job("b", count=500, after="a")])
        assert "20,000 pairs" in errors["jobs[1].after"]


class TestInputs:
    PREP = job("prep", outputs=["data", "logs/all.txt"])

    def test_from_a_job(self) -> None:
        members = made(
            jobs=[
                self.PREP,
                job("t", after="prep", inputs=[{"from": "prep", "path": "data/x", "to": "in"}]),
            ]
        )
        stored = members[1].job("grp_1", {"prep": "job_1", "t": "job_2"})
        assert stored.env["CORTEX_GROUP_ID"] == "grp_1"
        assert stored.model_dump(mode="json")["inputs"] == [
            {"from": "job_1", "path": "data/x", "to": "in"}
        ]

    def test_an_array_gives_a_folder_for_each_index(self) -> None:
        members = made(
            jobs=[
                job("t", count=2, outputs=["r-{index}"]),
                job("all", after="t", inputs=[{"from": "t"}, {"from": "t[1]", "to": "one"}]),
                job("in", after="t", inputs=[{"from": "t", "to": "in"}]),
            ]
        )
        assert [(source.source, source.to) for source in members[2].spec.inputs] == [
            ("t[0]", "0"),
            ("t[1]", "1"),
            ("t[1]", "one"),
        ]
        assert [source.to for source in members[3].spec.inputs] == ["in/0", "in/1"]

    def test_a_folder_that_holds_an_output(self) -> None:
        made(jobs=[self.PREP, job("t", after="prep", inputs=[{"from": "prep", "path": "logs"}])])

    @pytest.mark.parametrize(
        ("given", "where", "message"),
        [
            ({"from": "x"}, "from", "there is no job `x`; known are `prep`, `other`, `t`"),
            ({"from": "other"}, "from", "is not needed by this job"),
            ({"from": "prep", "path": "dat"}, "path", "`dat` is not among the outputs of `prep`"),
            ({"from": "prep", "path": "../x"}, "path", "without `..`"),
            ({"from": "prep", "to": "/in"}, "to", "must be a relative path"),
            ({"from": "prep", "into": "x"}, "into", "is not a known field"),
        ],
    )
    def test_what_cannot_be(self, given: dict[str, str], where: str, message: str) -> None:
        errors = wrong(jobs=[self.PREP, job("other"), job("t", after="prep", inputs=[given])])
        assert list(errors) == [f"jobs[2].inputs[0].{where}"]
        assert message in errors[f"jobs[2].inputs[0].{where}"]

    def test_two_files_of_one_name_in_one_folder(self) -> None:
        sources = [job(name, outputs=["result.txt", "parts/"]) for name in ("a", "b")]
        both = [{"from": "a"}, {"from": "b"}]
        errors = wrong(jobs=[*sources, job("t", after=["a", "b"], inputs=both)])
        assert list(errors) == ["jobs[2].inputs"]
        assert "another `result.txt` in the place of that from `a`" in errors["jobs[2].inputs"]
        apart = [{"from": "a"}, {"from": "b", "to": "b"}]
        folders = [{"from": "a", "path": "parts"}, {"from": "b", "path": "parts"}]
        for inputs in (apart, folders):
            made(jobs=[*sources, job("t", after=["a", "b"], inputs=inputs)])

    def test_a_file_that_a_pattern_may_match(self) -> None:
        source = job("a", outputs=["out/**/*.txt"])
        for path, wanted in (("out/x/y.txt", True), ("out", True), ("other/y.txt", False)):
            jobs = [source, job("t", after="a", inputs=[{"from": "a", "path": path}])]
            if wanted:
                made(jobs=jobs)
            else:
                assert "is not among the outputs" in wrong(jobs=jobs)["jobs[1].inputs[0].path"]

    def test_a_source_without_outputs(self) -> None:
        errors = wrong(jobs=[job("a"), job("t", after="a", inputs=[{"from": "a"}])])
        assert errors == {"jobs[1].inputs[0].from": "`a` keeps no files: give it `outputs`"}


class TestWrong:
    def test_duplicate_names(self) -> None:
        errors = wrong(jobs=[job("a"), job("a-{index}", count=2)])
        assert errors == {"jobs[1].name": "`a` is the name of jobs[0] too"}

    def test_count_and_matrix(self) -> None:
        errors = wrong(jobs=[job("a", count=2, matrix={"x": [1]})])
        assert list(errors) == ["jobs[0].matrix"]

    @pytest.mark.parametrize("count", [0, -1, 1001])
    def test_count_out_of_range(self, count: int) -> None:
        assert wrong(jobs=[job("a", count=count)]) == {"jobs[0].count": "must be from 1 to 1,000"}

    def test_too_many_members_are_not_made(self) -> None:
        big = {name: list(range(1000)) for name in ("a", "b", "c", "d")}
        errors = wrong(jobs=[job("a", matrix=big)])
        assert errors["jobs"].startswith("make 1,000,000,000,000 members together")

    def test_concurrency_with_all_or_nothing(self) -> None:
        errors = wrong(concurrency=2, jobs=[job("a", count=3, concurrency=1)])
        assert list(errors) == ["concurrency", "jobs[0].concurrency"]
        assert "best_effort" in errors["concurrency"]

    def test_concurrency_of_one_job(self) -> None:
        errors = wrong(policy="best_effort", jobs=[job("a", concurrency=1)])
        assert list(errors) == ["jobs[0].concurrency"]

    def test_a_field_of_the_job(self) -> None:
        errors = wrong(jobs=[job("a"), job("b", count=500, resources={"memory": "much"})])
        assert list(errors) == ["jobs[1].resources.memory"]
        assert "(in" not in errors["jobs[1].resources.memory"]

    def test_a_field_of_the_defaults_is_said_once(self) -> None:
        errors = wrong(defaults={"colour": 1, "duration": "x"}, jobs=[job("a"), job("b")])
        assert set(errors) == {"defaults.colour", "defaults.duration"}

    def test_a_job_without_anything_to_run(self) -> None:
        errors = wrong(jobs=[{"name": "a"}])
        assert errors["jobs[0]"].startswith("needs an `image`")

    def test_a_value_that_spoils_one_member(self) -> None:
        errors = wrong(jobs=[job("a-{p}", matrix={"p": ["ok", "Bad Name"]})])
        assert "(in `a[1]`)" in errors["jobs[0].name"]

    @pytest.mark.parametrize("name", ["", "{index}", "-{index}", "A", "a b"])
    def test_names(self, name: str) -> None:
        assert list(wrong(jobs=[job(name)])) == ["jobs[0].name"]

    @pytest.mark.parametrize(
        "matrix",
        [{}, {"index": [1]}, {"a b": [1]}, {"lr": [1], "LR": [1]}, {"a": [1, "1"]}],
    )
    def test_parameters(self, matrix: dict[str, Any]) -> None:
        assert list(wrong(jobs=[job("a", matrix=matrix)])) == ["jobs[0].matrix"]

    @pytest.mark.parametrize("values", ["abc", 1, [], [None], [[1]]])
    def test_values(self, values: Any) -> None:
        (field,) = wrong(jobs=[job("a", matrix={"p": values})])
        assert field.startswith("jobs[0].matrix.p")

    def test_variables_of_the_group(self) -> None:
        errors = wrong(jobs=[job("a", env={"CORTEX_INDEX": "1"})])
        assert errors == {"jobs[0].env.CORTEX_INDEX": "is set by the group; choose another name"}

    def test_no_jobs_and_unknown_fields(self) -> None:
        errors = wrong(jobs=[], colour=1, policy="some")
        assert set(errors) == {"jobs", "colour", "policy"}

    def test_a_name_in_the_defaults(self) -> None:
        assert list(wrong(defaults={"name": "x"}, jobs=[job("a")])) == ["defaults.name"]


class TestPolicy:
    def test_defaults_go_by_the_policy(self) -> None:
        atomic = GroupSpec.model_validate({"jobs": [job("a")]})
        loose = GroupSpec.model_validate({"policy": "best_effort", "jobs": [job("a")]})
        assert (atomic.compensates, atomic.fails_fast) == (True, True)
        assert (loose.compensates, loose.fails_fast) == (False, False)

    def test_what_is_said_counts(self) -> None:
        spec = GroupSpec.model_validate(
            {"commit_failure": "retry", "fail_fast": False, "jobs": [job("a")]}
        )
        assert (spec.compensates, spec.fails_fast) == (False, False)


class TestSecrets:
    SPEC = GroupSpec.model_validate(
        {
            "defaults": {"secret_env": {"A": "hush-1"}},
            "jobs": [job("a", secret_env={"B": "hush-2"}, after=[])],
        }
    )

    def test_they_reach_the_members(self) -> None:
        (only,) = expand(self.SPEC)
        assert only.spec.secrets() == {"A": "hush-1", "B": "hush-2"}

    def test_they_are_masked_where_the_spec_is_shown(self) -> None:
        shown = self.SPEC.masked()
        assert "hush" not in f"{shown} {self.SPEC!r} {self.SPEC.model_dump_json()}"
        assert shown["jobs"][0]["secret_env"] == {"B": "**********"}
        assert GroupSpec.model_validate(shown).size() == 1
