"""man_page: a manual page as it is written, in scdoc's language. What man.py and man_example.py have in common.

A literal block stands between two lines of ```; in it, as in text, a backslash makes the character behind it literal."""
import os
import re


def plain(text):
    """Without escapes."""
    return re.sub(r"\\(.)", r"\1", text)


def unformatted(text):
    """Without the marks of bold and underlined, and without forced line ends."""
    text = re.sub(r"(?<!\\)\*|(?<![\w\\])_(?=\w)|(?<=\w)_(?!\w)", "", re.sub(r"\+\+$", "", text, flags=re.M))
    return plain(text)


class Page:
    def __init__(self, path):
        self.path = path
        self.file = os.path.basename(path)  # brood_spawn.3.scd
        self.name, self.section = re.fullmatch(r"([\w.-]+)\.(\d)\.scd", self.file).groups()
        with open(path, encoding="utf-8") as file:
            self.text = file.read()
        self.sections = {}
        heading, literal = "", False
        for line in self.text.splitlines(keepends=True):
            literal ^= line.startswith("```")
            if line.startswith("# ") and not literal:
                heading = line[2:].strip()
            self.sections[heading] = self.sections.get(heading, "") + ("" if line.startswith("# ") and not literal else line)

    @property
    def names(self):
        """Whom it is about: its own name and those that lead to it."""
        before = re.split(r" - ", self.sections.get("NAME", ""), maxsplit=1)[0]
        return re.findall(r"[a-z][\w.-]*", before)

    def blocks(self, heading):
        found = re.findall(r"^```\n(.*?)^```$", self.sections.get(heading, ""), flags=re.M | re.S)
        return [plain(block) for block in found]

    def prototypes(self):
        """The functions in its SYNOPSIS, as C declares them."""
        text = re.sub(r"#include <[^>]*>", "", unformatted(self.sections.get("SYNOPSIS", "")))
        pieces = (" ".join(piece.split()) for piece in text.split(";"))
        return [piece + ";" for piece in pieces if re.fullmatch(r"[a-z][\w ]*[ *]brood_\w+\(.*\)", piece)]

    def headers(self):
        return re.findall(r"#include <[\w/.]+>", unformatted(self.sections.get("SYNOPSIS", "")))
