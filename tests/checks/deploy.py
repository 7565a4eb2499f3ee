#!/usr/bin/env python3
"""deploy.py SOURCE [PROGRAM...]: what deploy/ has for containers is right, as far as can be told without any.

Manifests of Kubernetes: each pod satisfies the level "restricted" of the pod security standards (host.yaml may have a hostPath,
and says so in its namespace), has a read-only root and a limit of memory, and refers to volumes, ports, names and secrets that
exist (secrets: made by a command in README.md). compose.yaml: each service is confined in the same way, and refers to volumes
and services that exist. Dockerfile: copies what exists, and installs the packages of the libraries that PROGRAMs need."""
import os
import re
import subprocess
import sys

import yaml

PODS = ("StatefulSet", "Deployment", "DaemonSet", "Job")
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
HOST = ("hostNetwork", "hostPID", "hostIPC")


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(path):
    return [each for each in yaml.load_all(open(path), LOADER) if each]


def at(tree, *path, default=None):
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return default if tree is None else tree


# ---- Kubernetes ----------------------------------------------------------------------------------------------------------


def containers(pod):
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def unrestricted(pod, container):
    """Rules of the level "restricted" that a container breaks; what it does not say itself, its pod may."""
    own, general = container.get("securityContext", {}), pod.get("securityContext", {})

    def says(key):
        return own.get(key, general.get(key))

    if says("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if says("runAsUser") == 0:
        yield "runAsUser is 0"
    if at(says("seccompProfile"), "type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccompProfile"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged"
    if "ALL" not in at(own, "capabilities", "drop", default=[]):
        yield "capabilities are not dropped"
    if set(at(own, "capabilities", "add", default=[])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "hostPort"
    # What that level does not ask for, and we do.
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    if not at(container, "resources", "limits", "memory"):
        yield "no limit of memory"


def volume_kinds(pod):
    for volume in pod.get("volumes", ()):
        yield volume["name"], next(iter(set(volume) - {"name"}), "emptyDir")


def pod_complaints(pod, claims, level):
    yield from (f"{key}" for key in HOST if pod.get(key))
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    known = dict(volume_kinds(pod))
    for name, kind in known.items():
        if kind not in VOLUMES and not (kind == "hostPath" and level == "privileged"):
            yield f"volume {name} is a {kind}"
    for container in containers(pod):
        yield from (f"{container['name']}: {each}" for each in unrestricted(pod, container))
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in known and mount["name"] not in claims:
                yield f"{container['name']}: there is no volume {mount['name']}"


def secrets(pod):
    return [volume["secret"]["secretName"] for volume in pod.get("volumes", ()) if "secret" in volume]


def kubernetes(source):
    folder = os.path.join(source, "deploy/kubernetes")
    made = re.findall(r"create secret generic ([\w-]+)", open(os.path.join(folder, "README.md")).read())
    for name in sorted(os.listdir(folder)):
        if name.endswith(".yaml"):
            yield from (f"deploy/kubernetes/{name}: {each}" for each in manifest(folder, name, made))


def manifest(folder, name, made):
    everything = [each for other in sorted(os.listdir(folder)) if other.endswith(".yaml") for each in documents(os.path.join(folder, other))]
    levels = {each["metadata"]["name"]: at(each, "metadata", "labels", "pod-security.kubernetes.io/enforce") for each in everything
              if each["kind"] == "Namespace"}
    for each in documents(os.path.join(folder, name)):
        what = f"{each['kind']} {each['metadata']['name']}"
        namespace = each["metadata"].get("namespace")
        if each["kind"] != "Namespace" and namespace not in levels:
            yield f"{what}: its namespace {namespace} is nowhere"
        if each["kind"] == "Namespace" and levels[each["metadata"]["name"]] != ("privileged" if name == "host.yaml" else "restricted"):
            yield f"{what}: it does not enforce its level"
        if each["kind"] == "Service":
            yield from (f"{what}: {wrong}" for wrong in service(each, everything))
        if each["kind"] in PODS:
            pod, labels = each["spec"]["template"]["spec"], each["spec"]["template"]["metadata"]["labels"]
            claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", ())}
            yield from (f"{what}: {wrong}" for wrong in pod_complaints(pod, claims, levels.get(namespace)))
            yield from (f"{what}: README.md does not make its secret {secret}" for secret in secrets(pod) if secret not in made)
            if not each["spec"]["selector"]["matchLabels"].items() <= labels.items():
                yield f"{what}: it does not select its own pods"


def service(one, everything):
    wanted = one["spec"]["selector"].items()
    pods = [each["spec"]["template"] for each in everything if each["kind"] in PODS]
    ports = {port.get("name") for pod in pods if wanted <= pod["metadata"]["labels"].items() for container in pod["spec"]["containers"]
             for port in container.get("ports", ())}
    yield from (f"no pod has its port {port['targetPort']}" for port in one["spec"]["ports"] if port["targetPort"] not in ports)


# ---- Docker --------------------------------------------------------------------------------------------------------------


def compose(source):
    whole = yaml.load(open(os.path.join(source, "deploy/docker/compose.yaml")), LOADER)
    for name, one in whole["services"].items():
        found = []
        if one.get("user", "0").split(":")[0] in ("", "0", "root"):
            found.append("it runs as root")
        if one.get("read_only") is not True:
            found.append("read_only is not true")
        if one.get("cap_drop") != ["ALL"] or one.get("cap_add") or one.get("privileged"):
            found.append("capabilities are not dropped")
        if "no-new-privileges:true" not in one.get("security_opt", ()):
            found.append("no no-new-privileges")
        if any(other.get("pid") == f"service:{name}" for other in whole["services"].values()) and one.get("init") is not True:
            found.append("init is not true, and others have its process namespace: nobody reaps what they leave behind")
        found += [f"there is no volume {v}" for v in (each.split(":")[0] for each in one.get("volumes", ())) if v not in whole["volumes"]]
        others = [*one.get("depends_on", ()), *re.findall("^service:(.*)", one.get("pid", "") + "\n" + one.get("network_mode", ""), flags=re.M)]
        found += [f"there is no service {other}" for other in others if other not in whole["services"]]
        yield from (f"deploy/docker/compose.yaml: {name}: {each}" for each in found)


def libraries(program):
    """What it is linked with directly, as files."""
    needed = re.findall(r"NEEDED\s+(\S+)", subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True).stdout)
    found = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout))
    return {found[name] for name in needed if not name.startswith(("libbrood", "libc.", "libm.", "ld-", "libasan", "libubsan", "libgcc"))}


def package_of(path):
    """The name of the Debian package that a file is from."""
    for each in (path, os.path.realpath(path), path.removeprefix("/usr"), "/usr" + path):
        done = subprocess.run(["dpkg-query", "-S", each], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.split(":")[0]
    return f"(that of {path})"


def dockerfile(source, programs):
    text = open(os.path.join(source, "deploy/docker/Dockerfile")).read()
    last = text[text.rindex("\nFROM "):].replace("\\\n", " ")
    installed = re.search(r"apt-get install -y --no-install-recommends ([^&\n]*)", last)[1].split()
    for package in sorted({package_of(library) for program in programs for library in libraries(program)} - set(installed)):
        yield f"deploy/docker/Dockerfile does not install {package}"
    for path in re.findall(r"^COPY (?!--from)(\S+)", text, flags=re.M):
        if not os.path.exists(os.path.join(source, path)):
            yield f"deploy/docker/Dockerfile copies {path}, which does not exist"
    if not re.search(r"^USER [1-9]", last, flags=re.M):
        yield "deploy/docker/Dockerfile: it runs as root"


def main():
    source, *programs = sys.argv[1:]
    found = [*kubernetes(source), *compose(source), *dockerfile(source, programs)]
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
