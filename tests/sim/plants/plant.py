#!/usr/bin/env python3
"""Copy sources and plant bugs in the copies: plant.py SOURCE DESTINATION PLANT...

A plant is a file of lines: "# what the bug is", "file: path", then what is in the file, between "<<<<" and "====",
and what shall be there instead, up to ">>>>". What is not there exactly once has withered: it is left out, and the test that looks for it
fails. In the new text PLANT stands for "this one is chosen".
"""
import pathlib
import shutil
import sys

FOLDERS = ("proto", "client/lib", "client/include", "broker")


def read(plant):
    path, rest = plant.read_text().split("file: ", 1)[1].split("\n", 1)
    old, new = rest.split("<<<<\n", 1)[1].split(">>>>\n", 1)[0].split("====\n", 1)
    return path, old, new


def main(source, destination, plants):
    for folder in FOLDERS:
        shutil.copytree(source / folder, destination / folder, dirs_exist_ok=True)
    for plant in plants:
        path, old, new = read(plant)
        file = destination / path
        text = file.read_text()
        if text.count(old) != 1:
            print(f"{plant}: its place in {path} is there {text.count(old)} times, not once; adapt the plant")
            continue
        number = int(plant.name.split("-")[0])
        text = text.replace(old, new.replace("PLANT", f"(sim_plant == {number})"))
        if "extern int sim_plant;" not in text:
            text = "extern int sim_plant;\n" + text
        file.write_text(text)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), [pathlib.Path(p) for p in sys.argv[3:]])
