"""How commands are asked: arguments, settings, and all faults in one answer; exit 0 done, 1 failed, 2 asked wrongly."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from command_result import CommandResult

from imaging import settings
from imaging.cli import main
from imaging.cli.main import COMMANDS

READ_THE_LEDGER = ["status", "associations", "conflicts", "replay", "purge", "migrate"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: imaging {command}")
    assert len(text.splitlines()) > 5


def test_without_a_command_all_are_listed(run: Callable[..., CommandResult]) -> None:
    for arguments, status in (([], 2), (["--help"], 0), (["help"], 0)):
        result = run(*arguments)
        assert result.status == status
        assert all(f"  {name} " in result.out + result.err for name in COMMANDS)
    assert run("--version").out.startswith("imaging ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused_by_every_command_before_it_does_anything(
    run: Callable[..., CommandResult], tmp_path: Path, command: str
) -> None:
    result = run(command, "--hom", tmp_path / "nowhere", "--jsn")
    assert result.status == 2
    assert "--hom: unknown" in result.err
    assert "--jsn: unknown" in result.err
    assert not (tmp_path / "nowhere").exists()


def test_all_faults_come_in_one_answer_each_with_the_form_wanted(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    result = run(
        *("serve", "--home", tmp_path / "home", "--dicom-prt", "1", "--dicom-port", "eleven", "--web-port", "70000"),
        *("--ae-title", "DISTRICT-HOSPITAL-1", "--accept", "CT1", "--deliver-to", "PACS=PACS@10.0.0.5"),
        *("--deliver-outcomes", "PACS=good", "--role", "all-of-it", "--workers", "0", "--film-quiet-s", "soon"),
        *("--dicom-host", "0.0.0.0", "--web-host", "0.0.0.0", "--language"),
    )
    assert result.status == 2
    for fault in (
        "--dicom-prt: unknown; did you mean --dicom-port?",
        "--dicom-port 'eleven' is not a port; expected a number from 0",
        "--web-port '70000' is not a port",
        "--ae-title 'DISTRICT-HOSPITAL-1' has 19 characters",
        "--accept 'CT1' is not of the form AET@ADDRESS, such as CT1@10.0.0.7",
        "is not of the form NAME=AET@HOST:PORT",
        "is not of the form NAME=OUTCOME+OUTCOME",
        "--role 'all-of-it' is not one of all, node, worker, deliver, web",
        "--workers '0' is not a valid count",
        "--film-quiet-s 'soon' is not a number",
        "--web-host '0.0.0.0' is beyond loopback",
        "--language: expected LANG after it",
    ):
        assert fault in result.err, result.err
    assert not (tmp_path / "home").exists()


def test_beyond_loopback_strangers_are_refused_and_pages_are_not_open(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    result = run("serve", "--home", tmp_path / "h", "--dicom-host", "0.0.0.0", "--web-host", "192.168.1.5")
    assert result.status == 2
    assert "--accept AET@ADDRESS for each" in result.err
    assert "requires accounts" in result.err


def test_a_callers_address_is_one_ip_address(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    for address in ("10.0.0.0/8", "10.0.0.1:104", "pacs.example", "localhost"):
        result = run("serve", "--home", tmp_path / "h", "--dicom-host", "0.0.0.0", "--accept", f"CT1@{address}")
        assert (result.status, f"has the address {address!r}; expected one IP address" in result.err) == (2, True)


def test_every_address_of_loopback_is_on_loopback(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    hosts = ["--dicom-host", "127.0.0.2", "--web-host", "::1"]
    assert "beyond loopback" not in run("doctor", "--home", tmp_path / "h", *hosts).err


def test_an_empty_list_of_callers_opens_nothing_beyond_loopback(
    run: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text('dicom_host = "0.0.0.0"\naccept = []\n')
    beyond = "is beyond loopback, where unknown callers are refused"
    assert beyond in run("status", "--config", file).err
    file.write_text('dicom_host = "0.0.0.0"\naccept = ["CT1@10.0.0.7"]\n')
    assert beyond not in run("status", "--config", file).err
    monkeypatch.setenv("IMAGING_ACCEPT", "")
    assert beyond in run("status", "--config", file).err


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("/viewer?study={study_uid}", "must begin with https:"),
        ("https://viewer/{uid}", "has {uid}; expected"),
        ("https://[::1", "is not a URL"),
    ],
)
def test_a_viewers_address_that_cannot_be_used_is_said_before_anything_starts(
    run: Callable[..., CommandResult], tmp_path: Path, url: str, fault: str
) -> None:
    result = run("serve", "--home", tmp_path / "home", "--viewer-url", url)
    assert result.status == 2
    assert f"--viewer-url {url!r} {fault}" in result.err


def test_destinations_that_disagree_are_named(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    twice = ["--deliver-to", "PACS=A@10.0.0.5:104", "--deliver-to", "PACS=B@10.0.0.6:104"]
    result = run("serve", "--home", tmp_path / "h", *twice, "--deliver-outcomes", "PAC=positive")
    assert result.status == 2
    assert "--deliver-to names PACS twice" in result.err
    assert "--deliver-outcomes names PAC, which --deliver-to does not; did you mean PACS?" in result.err


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (["send", "--to", "nobody", "--jsom"], ["--jsom", "PATH: name", "AET@HOST:PORT"]),
        (["send", "/none", "--to"], ["--to: expected AET@HOST:PORT after it", "/none: no such"]),
        (
            ["analyse", "/none", "--at", "noon", "--models", "/none", "--memory-mb", "much"],
            ["/none: no such", "2026-11-24T", "--models /none", "--memory-mb 'much': expected a number of megabytes"],
        ),
        (
            ["simulate", "--studies", "0", "--kind", "foot", "--rate", "fast"],
            ["--studies", "--kind", "--rate 'fast': expected a number of 0", "--output"],
        ),
        (["simulate", "--to", "A@127.0.0.1:1", "--rate", "nan"], ["--rate 'nan': expected a number of 0 or more"]),
        (["simulate", "--to", "A@127.0.0.1:1", "--rate", "-1"], ["--rate '-1': expected a number of 0 or more"]),
        (["send", "/none", "--to", "A@127.0.0.1:1", "--ae-title", "DISTRICT-HOSPITAL-1"], ["19 characters"]),
        (
            ["purge", "--older-than", "a while", "--config", "/none.toml"],
            ["30d, 12h or 90m", "/none.toml: cannot be read"],
        ),
        (
            ["analyse", "/none", "--site-words", "NGUC=tp", "--site-words", "CHEST"],
            [
                "--site-words 'NGUC=tp' has the meaning 'NGUC'",
                "--site-words 'CHEST' is not of the form MEANING=WORDS",
            ],
        ),
        (["analyse", "/none", "--site-words", "PA=tp", "--site-words", "AP=TP"], ["gives two meanings for 'tp'"]),
        (
            ["models", "list", "--model-mode", "chest-flim=live", "--model-mode", "brain-mr-lesion=live"],
            ["--model-mode names chest-flim, which is no model here; did you mean chest-film?"],
        ),
        (
            ["serve", "--model-mode", "chest-film=loud", "--model-mode", "chest-film"],
            [
                "--model-mode 'chest-film=loud' is not of the form ID=MODE with a mode of live, findings, shadow",
                "--model-mode 'chest-film' is not of the form",
            ],
        ),
        (
            ["analyse", "/none", "--model-mode", "chest-film=live", "--model-mode", "chest-film=shadow"],
            ["--model-mode gives two modes for chest-film"],
        ),
        (["associations", "--last", "²"], ["--last '²': expected a number of 1"]),
        (
            ["serve", "--connections-per-address", "0"],
            ["--connections-per-address '0' is not a valid count; expected a number from 1"],
        ),
        (["conflicts", "settle", "one"], ["'settle': expected list, use, drop", "'one': expected a number"]),
        (["conflicts", "use"], ["use: expected one or more numbers"]),
        (["status", "--study", ""], ["--study: expected a Study Instance UID or an accession number"]),
        (["replay", "--failed", "--to", "PACS"], ["--to and --failed: expected only one of them"]),
        (
            ["replay", "--since", "soon", "--of", "A"],
            ["--since 'soon'", "--since: expected --model", "--of OLD: expected one --to"],
        ),
        (["replay", "--now", "--model", "a"], ["--now: can only be combined with --to"]),
        (["models", "tell", "nonsense"], ["'tell': expected list, show, check", "'nonsense': no such model"]),
    ],
    ids=lambda each: each[0],
)
def test_faults_of_arguments_come_together(
    run: Callable[..., CommandResult], home: Path, arguments: list[str], faults: list[str]
) -> None:
    place = ["--home", str(home)] if arguments[0] in READ_THE_LEDGER else []
    result = run(*arguments, *place)
    assert result.status == 2
    assert all(line.startswith(f"imaging {arguments[0]}: ") for line in result.err.splitlines())
    for each in faults:
        assert each in result.err, result.err


def test_a_command_on_a_home_that_was_never_served_says_how_to_begin_and_makes_nothing(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    for command in ("associations", "conflicts", "replay"):
        result = run(command, "--home", tmp_path / "none")
        assert result.status == 1
        assert f"imaging serve --home {tmp_path / 'none'}" in result.err
    assert not (tmp_path / "none").exists()


def test_a_caller_may_be_named_by_address_alone_however_that_is_written() -> None:
    named = settings.load({"accept": ["*@10.0.0.7", "CT1@::ffff:10.0.0.8", "CT2@[2001:DB8::1]"]}, environ={}).accept
    assert [(each.ae_title, each.address) for each in named] == [
        ("*", "10.0.0.7"),
        ("CT1", "10.0.0.8"),
        ("CT2", "2001:db8::1"),
    ]


def test_settings_may_stand_in_a_file(run: Callable[..., CommandResult], home: Path, tmp_path: Path) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text(
        f'home = "{home}"\ndicom_port = 11112\ndeliver_to = ["PACS=PACS@10.0.0.5:104"]\nfilm_quiet_s = 1.5\n'
    )
    result = run("status", "--config", file, "--json")
    assert (result.status, result.json["studies"]["settled"]) == (0, 0)


def test_a_file_with_faults_has_them_all_named_and_the_nearest_key_with_each(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text('dicom_prt = 11112\naccept = "CT1@10.0.0.7"\nae_title = ["A"]\nweb_port = "eighty"\n')
    result = run("status", "--config", file)
    assert result.status == 2
    for fault in (
        f"{file}: dicom_prt is not a setting; did you mean dicom_port?",
        f'{file}: accept: expected a list: ["AET@ADDRESS", ...]',
        f"{file}: ae_title: expected one value of the form AET",
        f"{file}: web_port 'eighty' is not a port",
    ):
        assert fault in result.err
    file.write_text("dicom_port = \n")
    assert f"{file}: is not valid TOML" in run("status", "--config", file).err


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(
    run: Callable[..., CommandResult], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "imaging.toml"
    file.write_text(f'home = "{tmp_path / "of-the-file"}"\n')
    assert run("status", "--config", file).status == 1
    monkeypatch.setenv("IMAGING_HOME", str(home))
    assert run("status", "--config", file).status == 0
    assert run("status", "--config", file, "--home", tmp_path / "of-the-flag").status == 1


def test_an_unknown_variable_is_a_warning(
    run: Callable[..., CommandResult], home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("IMAGING_DICOM_PRT", "11112")
    with caplog.at_level(logging.WARNING):
        assert run("status", "--home", home).status == 0
    assert "IMAGING_DICOM_PRT" in caplog.text
    assert "did you mean dicom_port" in caplog.text


def test_a_variable_that_cannot_be_used_is_named(
    run: Callable[..., CommandResult], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_WEB_PORT", "eighty")
    result = run("status", "--home", home)
    assert (result.status, "IMAGING_WEB_PORT 'eighty' is not a port" in result.err) == (2, True)


@pytest.mark.parametrize(
    "command", [["simulate", "--studies", "1", "--kind", "film", "--output"], ["migrate", "--home"]]
)
def test_a_place_that_cannot_be_written_is_a_failure_in_words(
    run: Callable[..., CommandResult], tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    result = run(*command, tmp_path / "file")
    assert (result.status, f"imaging {command[0]}: {tmp_path / 'file'}" in result.err) == (1, True)
