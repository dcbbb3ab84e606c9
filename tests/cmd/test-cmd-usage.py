#!/usr/bin/env python3
"""Help, wrong usage, settings, and that the manual, the completions and the program know the same commands, options and settings."""
import json
import os
import re
import subprocess

from cmdtest import HEARTH, SOURCE, env, hearth, home, main, read, test


def commands():
    return re.findall(r"^  hearth ([a-z]+)", hearth("--help").out, re.MULTILINE)


def options_of(command):
    """[(letter or None, name)] of a command's own options, as its help lists them."""
    text = hearth(command, "--help").out.split("Options:")[1].split("\nSettings (")[0]
    return re.findall(r"^  (?:-(\w), |    )--([a-z-]+)", text, re.MULTILINE)


def settings():
    return [s["name"] for s in hearth("config", "--json").json["settings"]]


@test
def help_lists_every_command_of_the_contract():
    have = commands()
    for name in "serve run show list ps stop quantize tokenize perplexity embed render bench status doctor config".split():
        assert name in have, name
    assert hearth("-h").out == hearth("--help").out
    assert re.match(r"hearth \d+\.\d+\.\d+\n$", hearth("--version").out)


@test
def every_command_has_help():
    for name in commands():
        text = hearth(name, "--help").out
        assert text.startswith(f"hearth {name}") and "--help" in text
        assert hearth("help", name).out == text
        assert hearth(name, "-h").out == text


@test
def wrong_usage_is_2_and_says_how():
    for args in [["frobnicate"], ["show"], ["show", "a", "b"], ["list", "x"], ["tokenize"], ["quantize", "a", "b"], ["quantize", "a", "b", "Q9"],
                 ["perplexity", "m"], ["embed", "m"], ["render", "x"], ["bench", "--nope"], ["run", "--temp", "hot"], ["run", "-n"],
                 ["run", "-n", "-5"], ["run", "-n", "1e3"], ["list", "--json=yes"], ["stop"], ["bench", "-b", "1000"],
                 ["serve", "--threads", "many"], ["serve", "--listen"], ["config", "--log-level", "loud"], ["tokenize", "m", "t", "--file", "f"], []]:
        done = hearth(*args, code=2)
        assert done.out == "" and ("hearth" in done.err), args


@test
def a_misspelt_word_gets_a_suggestion():
    assert "did you mean `hearth list`" in hearth("ls", code=2).err
    assert "did you mean `hearth tokenize`?" in hearth("tokenise", code=2).err
    assert "did you mean --json?" in hearth("list", "--jason", code=2).err
    assert "did you mean --keep-alive?" in hearth("serve", "--keep-alove", "5", code=2).err
    assert "did you mean Q4_K_M?" in hearth("quantize", "a", "b", "q4_k_n", code=2).err
    assert "did you mean" not in hearth("zzzzzzzz", code=2).err


@test
def failing_is_1_and_says_with_what():
    for args, says in [(["show", "nosuch"], "nosuch"), (["tokenize", "nosuch", "x"], "there are: starter"), (["perplexity", "starter", "/nonexistent"], "/nonexistent"),
                       (["status"], "hearth serve"), (["ps"], "hearth serve"), (["stop", "starter"], "hearth serve"),
                       (["render", "/nonexistent.jinja", "/nonexistent.json"], "/nonexistent.jinja"), (["run", "./nosuch.gguf", "hi"], "nosuch")]:
        done = hearth(*args, code=1)
        assert says in done.err and done.out == "", (args, done.err)
        assert done.err.startswith("hearth " + args[0] + ": "), done.err


@test
def options_may_stand_anywhere_and_end():
    a = hearth("tokenize", "--json", "starter", "Hello there").out
    assert hearth("tokenize", "starter", "Hello there", "--json").out == a
    assert hearth("tokenize", "--json", "--", "starter", "Hello there").out == a
    assert hearth("tokenize", "starter", "--json", "--", "--json").json["tokens"] != []
    assert hearth("tokenize", "--json", "starter", "- a list").code == 0


@test
def settings_come_from_everywhere():
    path = os.path.join(home, "hearth.conf")
    with open(path, "w") as f:
        f.write("threads = 2\nqueue = 5\nmodel = filed\napi_key = secret\n")
    try:
        got = {s["name"]: (s["value"], s["source"]) for s in hearth("config", "--json", "--model", "flagged", HEARTH_QUEUE="6").json["settings"]}
        assert got["threads"] == ("2", "file") and got["queue"] == ("6", "environment") and got["model"] == ("flagged", "flag")
        assert got["context"] == ("auto", "default") and got["home"] == (home, "environment")
        assert got["api_key"] == ("(set)", "file")
        assert "secret" not in hearth("config").out
        with open(path, "w") as f:
            f.write("\nthreds = 2\n")
        done = hearth("list", code=1)
        assert "line 2" in done.err and "threds" in done.err
        hearth("list", "--help")  # help must not need a good file
    finally:
        os.remove(path)


@test
def the_manual_knows_everything():
    page, conf = read(os.path.join(SOURCE, "man", "hearth.1")), read(os.path.join(SOURCE, "man", "hearth.conf.5"))
    for command in commands():
        section = re.search(rf"^\.It Cm {command}\b(.*?)(?=^\.It Cm |^\.Sh )", page, re.MULTILINE | re.DOTALL)
        assert section, f"hearth(1) has no {command}"
        for letter, name in options_of(command):
            if name != "help":
                assert re.search(rf"-{name}\b", section.group(1)), f"hearth(1): {command} has no --{name}"
                assert not letter or re.search(rf"Fl {letter}\b", section.group(1)), f"hearth(1): {command} has no -{letter}"
    for name in settings():
        assert re.search(rf"^\.It Cm {name}\b", conf, re.MULTILINE), f"hearth.conf(5) has no {name}"
    for name in re.findall(r"^\.It Cm (\w+)", conf, re.MULTILINE):
        assert name in settings(), f"hearth.conf(5) has {name}, the program does not"


@test
def the_completions_know_everything():
    flags = [name.replace("_", "-") for name in settings()]
    for file, spelt, short in [("hearth.bash", "--{}", None), ("_hearth", "--{}", "-{}"), ("hearth.fish", "-l {}", "-s {}")]:
        text = read(os.path.join(SOURCE, "completions", file))
        for command in commands():
            assert re.search(rf"\b{command}\b", text), f"{file} has no {command}"
            for letter, name in options_of(command):
                assert re.search(re.escape(spelt.format(name)) + r"\b", text), f"{file} has no {name} of {command}"
                assert not (letter and short and name != "help") or re.search(re.escape(short.format(letter)) + r"\b", text), f"{file}: -{letter}"
        for flag in flags:
            assert re.search(re.escape(spelt.format(flag)) + r"\b", text), f"{file} has no setting {flag}"


@test
def listings_answer_in_json():
    models = hearth("list", "--json").json["models"]
    starter = next(m for m in models if m["name"] == "starter")
    assert starter["built_in"] is True and starter["bytes"] == os.path.getsize(starter["files"][0])
    types = hearth("quantize", "--list", "--json").json["types"]
    for name in "Q4_K_M Q5_K_M Q6_K Q8_0 Q4_0 Q3_K_M Q2_K IQ4_XS F16".split():
        assert name in types, name
    assert json.loads(hearth("config", "--json").out)["file"].endswith("/hearth.conf")


@test
def what_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        for args in [["list"], ["config"], ["list", "--json"]]:
            done = subprocess.run([HEARTH, *args], env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            assert done.returncode == 1 and "cannot write the answer" in done.stderr, (args, done)


@test
def no_colours_where_there_is_no_terminal():
    for args in [["list"], ["config"], ["--help"]]:
        assert "\033" not in hearth(*args).out


main()
