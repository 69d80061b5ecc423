from claudetm.plan.model import Change, Plan, Task, plan_from_data, plan_to_data, problems


def change(i: str, *needs: str) -> Change:
    return Change(i, f"Change {i}", (Task(f"{i}.t1", "Do it"),), depends_on=needs)


def test_a_plan_survives_its_form_as_data() -> None:
    plan = Plan((change("c1"), change("c2", "c1")), summary="Two steps")
    assert plan_from_data(plan_to_data(plan)) == plan


def test_an_empty_plan_is_refused() -> None:
    assert problems(Plan()) == ("The plan has no changes.",)


def test_a_circle_is_named() -> None:
    assert problems(Plan((change("c1", "c2"), change("c2", "c1"), change("c3")))) == (
        "The changes c1, c2 depend on each other in a circle.",
    )


def test_an_unknown_dependency_is_named() -> None:
    assert problems(Plan((change("c1", "c9"),))) == ("Change c1 depends on c9, which is not in the plan.",)
