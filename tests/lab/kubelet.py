"""kubelet: runs the containers of deploy/kubernetes on the lab's hosts, as far as namespaces alone go.

What it lays out as a kubelet does: a root that cannot be written to, volumes (a secret's files are root's, the group's to read, and
links; fsGroup), the user, no capabilities, no new privileges, the environment, init containers first. What it is not: an API, a
network of pods, an image, seccomp.
"""
import os
import shlex

import yaml

from lab import BUILD, until

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/kubernetes")

VOLUMES = "/var/lib/volumes"

# A root of its own: what an image has, the mount points, the volumes. Arguments: user, group, command.
CONTAINER = r"""
root=/run/root; mkdir -p $root; mount -t tmpfs lab $root
for each in usr etc dev proc "$BUILD"; do mkdir -p $root/$each; mount --rbind /${each#/} $root/$each; done
for each in bin sbin lib lib64; do ln -s usr/$each $root/$each; done
echo "$MOUNTS" | while read -r from to; do
	[ -n "$from" ] || continue
	if [ -d "$from" ]; then mkdir -p $root$to; else mkdir -p $root${to%/*}; : >$root$to; fi
	mount --bind "$from" $root$to
done
mount -o remount,ro lab $root
user=$1 group=$2; shift 2
exec chroot $root setpriv --reuid "$user" --regid "$group" --groups "$group" --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


class Kubelet:
    def __init__(self, hosts):
        """hosts: on which one a workload runs, by its name."""
        self.hosts, self.secrets, self.pods = hosts, {}, {}

    def kubectl(self, line, directory):
        """One line of README.md, said in this directory. What `kubectl exec` printed."""
        words = shlex.split(line.replace("kubectl -n brood ", "kubectl "))[1:]
        if words[:1] == ["apply"]:
            for each in filter(None, yaml.safe_load_all(open(os.path.join(FOLDER, os.path.basename(words[2]))))):
                if each["kind"] in ("StatefulSet", "Deployment", "DaemonSet"):
                    self.pods[each["metadata"]["name"]] = Pod(self.hosts[each["metadata"]["name"]], each["spec"])
        elif words[:3] == ["create", "secret", "generic"]:
            self.secrets[words[3]] = {key: open(os.path.join(directory, path or key)).read() for key, _, path in
                                      (word.removeprefix("--from-file=").partition("=") for word in words[4:])}
        elif words[0] == "exec":
            return self.pods[words[1].partition("/")[2]].execute(words[words.index("--") + 1:])
        else:
            raise AssertionError(f"what is this: {line}")
        for pod in self.pods.values():  # those that waited for a secret
            if not pod.running and pod.wants <= self.secrets.keys():
                pod.run(self.secrets)
        return ""


class Pod:
    def __init__(self, host, spec):
        self.host, self.spec, self.running, self.volumes = host, spec["template"]["spec"], None, {}
        self.claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())]
        self.wants = {volume["secret"]["secretName"] for volume in self.spec["volumes"] if "secret" in volume}
        self.group = self.spec["securityContext"]["fsGroup"]

    def _lay_out(self, secrets):
        base = f"{self.host.disk}{VOLUMES}"
        for name in self.claims + [volume["name"] for volume in self.spec["volumes"]]:
            self.volumes[name] = f"{base}/{name}"
            os.makedirs(self.volumes[name])
            os.chown(self.volumes[name], 0, self.group)
            os.chmod(self.volumes[name], 0o2777)
        for volume in (each for each in self.spec["volumes"] if "secret" in each):
            to, wanted = self.volumes[volume["name"]], volume["secret"].get("items")
            os.makedirs(f"{to}/..2026")
            os.symlink("..2026", f"{to}/..data")
            for key, text in secrets[volume["secret"]["secretName"]].items():
                if wanted and key not in [item["key"] for item in wanted]:
                    continue
                with open(f"{to}/..2026/{key}", "w") as file:
                    file.write(text)
                os.chown(file.name, 0, self.group)
                os.chmod(file.name, volume["secret"]["defaultMode"] | 0o040)
                os.symlink(f"..data/{key}", f"{to}/{key}")

    def _mounts(self, container):
        for mount in container["volumeMounts"]:
            part = f"/..data/{mount['subPath']}" if "subPath" in mount else ""
            yield f"{VOLUMES}/{mount['name']}{part} {mount['mountPath']}"

    def _start(self, container, command):
        who = self.spec["securityContext"]
        env = {"PATH": f"{BUILD}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BUILD": BUILD, "MOUNTS": "\n".join(self._mounts(container)),
               **{each["name"]: each["value"] for each in container.get("env", ())}}
        return self.host.start("unshare", "--mount", "sh", "-ec", CONTAINER, "sh", str(who["runAsUser"]), str(who["runAsGroup"]), *command,
                               title=f"pod-{container['name']}{len(self.host.programs)}", env=env)

    def run(self, secrets):
        self._lay_out(secrets)
        for container in self.spec.get("initContainers", ()):
            self._start(container, container["command"]).ends()
        self.main = self.spec["containers"][0]
        self.running = self._start(self.main, self.main["command"])

    def ready(self):
        """What its readiness probe says. A container that ended, because its broker was not up yet, is started again."""
        if not self.running.running():
            self.running = self._start(self.main, self.main["command"])
        return self._start(self.main, self.main["readinessProbe"]["exec"]["command"]).wait() == 0

    def execute(self, command):
        until(self.ready, "the pod is ready")
        program = self._start(self.main, command).ends()
        return open(program.out).read()
