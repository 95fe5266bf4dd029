"""The switches of a property, and which part of the tracker each asks for."""

from tests.people import new_property


def test_the_table_names_each_switch_once_and_says_what_it_does() -> None:
    from properties import capture

    assert len(set(capture.NAMES)) == len(capture.NAMES)
    assert all(switch.label and switch.help.endswith(".") for switch in capture.SWITCHES)


def test_a_new_property_has_the_default_switches() -> None:
    assert new_property().capture == [
        "elements",
        "shown",
        "outbound",
        "downloads",
        "forms",
        "not_found",
        "calls",
    ]


def test_a_file_is_asked_for_by_its_switches_only() -> None:
    from properties.capture import MORE, VITALS, asks_for

    assert asks_for(MORE, ["elements"])
    assert asks_for(VITALS, ("vitals",))
    assert not asks_for(MORE, ["vitals", "hash_routes"])
    assert not asks_for(VITALS, [])
