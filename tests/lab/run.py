"""run.py [-l] [TEST...]: see run.sh, which starts it.

It runs twice: outside it makes namespaces and looks, before and after, whether this host is as it was; inside these, as process
1, it runs the tests. All that a test makes (processes, networks, mounts, files) lies in the inner namespaces, so the kernel
removes it, whatever happens: an error, ^C, or kill -9 of any of us.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
TOOLS = ("ip", "nft", "ss", "unshare", "nsenter", "setpriv", "mount")
PATIENCE = 120  # of one test, in seconds
GROUPS = ("host", "client", "deploy", "link", "spawn")
PR_SET_PDEATHSIG = 1


# ---- outside -------------------------------------------------------------------------------------------------------------


def reason_to_skip():
    if os.geteuid() != 0:
        return "only root can make hosts out of namespaces"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return "not here: " + ", ".join(missing) + " (deploy/install-deps.sh --tests)"
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-ec",
                           "mount -t tmpfs lab /run; ip link add name x type bridge; ip link add name y type veth peer name z; nft list ruleset"],
                          capture_output=True, text=True)
    return "" if done.returncode == 0 else "this kernel makes no hosts: " + done.stderr.strip()


def new_mark():
    return os.environ.get("BROOD_LAB") or f"{os.getpid()}.{time.time_ns()}"


def ours(mark):
    """Processes of this run, by what is in their environment."""
    mark = f"BROOD_LAB={mark}\0".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in open(f"/proc/{pid}/environ", "rb").read() and int(pid) != os.getpid():
                yield f"process {pid} " + open(f"/proc/{pid}/cmdline").read().replace("\0", " ")
        except OSError:
            pass


def surroundings(mark):
    """What a lab must not change: networks, named namespaces, mounts, and that there are no processes of ours."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    seen = {"network " + line.split(": ")[1] for line in links.splitlines()}
    if os.path.isdir("/run/netns"):
        seen |= {"namespace " + name for name in os.listdir("/run/netns")}
    seen |= {"mount " + line.split()[4] for line in open("/proc/self/mountinfo") if " lab" in line}
    return seen | set(ours(mark))


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def wait_for(inner):
    """Its exit status. Whoever ends us, by ^C too, ends it."""
    def end(*_):
        print("interrupted", flush=True)
        inner.kill()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return inner.wait()


def outside(arguments):
    reason = reason_to_skip()
    if reason:
        print(f"skipped: {reason}")
        return SKIPPED
    mark = new_mark()
    before = surroundings(mark)
    inner = subprocess.Popen(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'exec "$@" 2>&1', "sh",
         sys.executable, os.path.abspath(__file__), "--inside", *arguments], stderr=subprocess.DEVNULL,  # unshare's, of version 2.38
        env={**os.environ, "BROOD_LAB": mark, "PYTHONDONTWRITEBYTECODE": "1"}, preexec_fn=die_with_parent)
    status = wait_for(inner)
    end = time.monotonic() + 10  # the kernel takes networks apart in the background
    while (changed := surroundings(mark) ^ before) and time.monotonic() < end:
        time.sleep(0.1)
    for each in sorted(changed):
        print(f"LEFT BEHIND: {each}")
    return 1 if changed else status if 0 <= status < 128 else 1


# ---- inside --------------------------------------------------------------------------------------------------------------


class TooLong(Exception):
    pass


def too_long(*_):
    raise TooLong(f"not done within {PATIENCE} s")


def run_one(name, test, lab):
    print(f"== {name}: {test.__doc__.strip().splitlines()[0]}", flush=True)
    since = time.monotonic()
    with lab.Lab() as here:
        signal.alarm(PATIENCE)
        try:
            test(here)
            here.end()
            return True
        except Exception:
            traceback.print_exc(file=sys.stdout)
            here.tell_logs()
            return False
        finally:
            signal.alarm(0)
            print(f"   {time.monotonic() - since:.1f} s", flush=True)


def tests():
    """Every function of these modules that is called after a group: host_faults is the test host.faults."""
    import links
    import scenarios
    import spawns
    return {name.replace("_", ".", 1): function for module in (scenarios, links, spawns) for name, function in vars(module).items()
            if name.partition("_")[0] in GROUPS and getattr(function, "__module__", "") == module.__name__}


def inside(arguments):
    import lab
    chosen = {name: test for name, test in tests().items()
              if not arguments or any(name.startswith(a) for a in arguments)}
    if not chosen:
        print("no such test; -l lists them")
        return 2
    signal.signal(signal.SIGALRM, too_long)
    lab.prepare()
    failed = [name for name, test in chosen.items() if not run_one(name, test, lab)]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} passed" + "".join(f"\nFAILED: {name}" for name in failed))
    return 1 if failed else 0


def main(arguments):
    sys.path.insert(0, HERE)
    if arguments[:1] == ["--inside"]:
        return inside(arguments[1:])
    if arguments == ["-l"]:
        print("\n".join(tests()))
        return 0
    return outside(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
