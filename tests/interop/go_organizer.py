"""Builds the Go organizer as examples/go/README.md says, and books with it against the real scheduler.

Usage: go_organizer.py QUORATE FOLDER, the built program and where Go may keep what it builds. PYTHONPATH must hold
the folder with the generated stubs.
"""
import os
import shutil
import sys
from pathlib import Path

import run as examples
from harness import check, main, run, step

GO = Path(__file__).resolve().parents[2] / "examples" / "go"
# Where Debian keeps the packages golang-google-grpc-dev and golang-google-protobuf-dev.
SYSTEM = Path("/usr/share/gocode")
TOOLS = ["go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"]
NEEDED = [SYSTEM / "src/google.golang.org" / name for name in ("grpc", "protobuf", "genproto")]
DAY = ["-from", "2031-12-02T00:00:00Z", "-until", "2031-12-03T00:00:00Z", "-zone", "UTC", "-duration", "1h"]


def missing():
    """What a build here lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None] + [str(path) for path in NEEDED if not path.is_dir()]


def build(folder):
    """The built program. Its module lies where Go looked for packages before there were modules: so the system's own
    packages are found without a network."""
    module = folder / "path" / "src" / "quorate.example" / "go"
    shutil.rmtree(module, ignore_errors=True)
    shutil.copytree(GO, module, ignore=shutil.ignore_patterns("gen"))
    code, out, err = run([str(GO / "generate.sh"), str(module / "gen")])
    check(code == 0, f"the stubs should be made: {out}{err}")
    path = f"{folder / 'path'}:{SYSTEM}"
    env = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": path, "GOCACHE": str(folder / "cache")}
    program = folder / "organizer"
    for argv in (["go", "vet", "./organizer"], ["go", "build", "-o", str(program), "./organizer"]):
        code, out, err = run(argv, cwd=module, env=env)
        check(code == 0, f"{argv} should pass: {out}{err}")
    code, out, err = run(["gofmt", "-l", str(GO)])
    check(code == 0 and not out, f"gofmt would change {out}{err}")
    step("the Go organizer is built, and vetted")
    return program


def body():
    program = build(Path(sys.argv[2]).resolve())
    world = examples.World(sys.argv[1])

    def organizer(*args):
        return run([str(program), "-scheduler", world.address, *args])

    agents = {name: world.agent(name, free) for name, free in examples.PEOPLE.items()}
    world.connected(agents)

    review = ["-with", "alice,bob,carol", "-title", "Review", *DAY, "-request-id", "11111111-2222-4333-8444-555555555555"]
    code, out, err = organizer(*review)
    check(code == 0 and "2031-12-02T09:00:00Z/2031-12-02T10:00:00Z" in out, f"Review at 9 ({code}): {out}{err}")
    check(out.count("STATUS_ATTENDING") == 3, f"all three attend: {out}")
    again = organizer(*review)
    check(again[:2] == (code, out), f"the same request id has the same outcome: {again}")
    for agent in agents.values():
        agent.expect(r"booked 2031-12-02T09:00\S* 'Review'")
    step("Go books a meeting once, however often it asks")

    code, out, err = organizer("-with", "alice,bob,carol", *DAY[:-1], "3h")
    check(code == 1 and "STATE_FAILED REASON_NO_COMMON_SLOT" in out, f"no three hours are free ({code}): {out}{err}")
    check("would do:" in out, f"it says what would do: {out}")
    step("Go is told why there is no slot, and what would do")

    code, out, err = organizer("-with", "alice,alice", "-duration", "0s", "-zone", "Mars/Olympus")
    check(code == 2 and "InvalidArgument" in err, f"bad input ({code}): {out}{err}")
    for field in ("spec.attendees", "spec.duration", "spec.window.time_zone"):
        check(f"  {field}" in err, f"{field} should be among the violations: {err}")
    step("Go is told all that is wrong with a request at once")

    check(world.server.stop() == 0, f"the scheduler should end with 0: {world.server.story()}")
    code, out, err = organizer("-with", "alice", *DAY)
    check(code == 3 and "asking again" in err, f"without a scheduler it asks again, then exits 3 ({code}): {out}{err}")
    step("without a scheduler Go asks again, then gives up")


if __name__ == "__main__":
    if lacking := missing():
        print(f"SKIPPED: there is no {', no '.join(lacking)}, so the Go organizer was not run", flush=True)
        sys.exit(0)
    sys.exit(main(body, examples.STARTED))
