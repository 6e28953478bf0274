#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disk files that we write, read by programs that are not ours, and files of theirs read by us.

differential.py BUILD_DIR [--first SEED] [--images N] [--keep FOLDER]

Seeds from SEED on give disk files (disk_gen; every fifth seed: a vm with a history, restored as a chain by
the collector's assembler, restore_gen) until N images were looked at.  Each one whose content is known by
construction is read by everybody who can be trusted with it:

  qemu-img   VHDX without parent, 512-byte sectors: check and compare; VHD: virtual size and compare
  libvhdi    every VHDX and VHD, at every level of a chain
  7-Zip      every VHDX and VHD with an even number of sectors, at every level of a chain
  varve      every file: disk check says clean, disk convert to raw gives the disk (a chain flattened)

From each seed one image is also converted by varve to a format by chance, into a file or a pipe, and the
result is looked at in the same way; and qemu-img makes one VHDX or VHD that varve must read.  The seed of a
failure is printed: run it alone with --first SEED --images 1.
"""
import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

try:
    import pyvhdi
except ImportError:
    print("skipped: no python3-libvhdi")
    sys.exit(77)

PIECE = 1 << 20
Image = collections.namedtuple("Image", "format sector size truth files")


class Failure(Exception):
    pass


class Lab:
    def __init__(self, build, work):
        self.tools = os.path.join(build, "tools")
        self.varve = os.path.join(build, "bin", "varve")
        self.work = work
        self.counts = collections.Counter()
        self.seed = 0
        self.random = None

    def run(self, *words, ok=(0,)):
        done = subprocess.run(words, cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode not in ok:
            raise Failure("%s: exit %d: %s%s" % (" ".join(words), done.returncode,
                                                 done.stdout[-500:], done.stderr[-500:]))
        return done.stdout

    def path(self, name):
        return os.path.join(self.work, name)

    # ---- what a file must read as ----

    def compare_stream(self, image, who, words):
        """Standard output of a program is the disk, and it says nothing else."""
        program = subprocess.Popen(words, cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with open(self.path(image.truth), "rb") as truth:
            at = 0
            while True:
                got = program.stdout.read(PIECE)
                if got != truth.read(len(got)) or (not got and at != image.size):
                    program.kill()
                    program.wait()
                    raise Failure("%s: differs in the MiB at %d, or ends there: %s" %
                                  (who, at, program.stderr.read()[-500:]))
                if not got:
                    break
                at += len(got)
        complaint = program.stderr.read()
        program.stdout.close()
        program.stderr.close()
        if program.wait() != 0 or complaint:
            raise Failure("%s: exit %d: %s" % (who, program.returncode, complaint[-500:]))
        self.counts[who] += 1

    def look_with_7zip(self, image):
        if image.size // image.sector % 2 != 0:
            self.counts["7-Zip not asked (odd number of sectors)"] += 1
            return
        kind = "-tvhdx" if image.format.startswith("vhdx") else "-tvhd"
        self.compare_stream(image, "7-Zip", ["7z", "e", "-so", kind, image.files[0]])

    def look_with_libvhdi(self, image):
        files = []
        for name in image.files:
            files.append(pyvhdi.file())
            files[-1].open(self.path(name))
        for i in range(len(files) - 2, -1, -1):
            files[i].set_parent(files[i + 1])
        if files[0].get_media_size() != image.size:
            raise Failure("libvhdi: %d bytes" % files[0].get_media_size())
        with open(self.path(image.truth), "rb") as truth:
            for off in range(0, image.size, PIECE):
                length = min(PIECE, image.size - off)
                if files[0].read_buffer_at_offset(length, off) != truth.read(length):
                    raise Failure("libvhdi: differs in the MiB at %d" % off)
        for f in files:
            f.close()
        self.counts["libvhdi"] += 1

    def look_with_qemu(self, image):
        vhdx = image.format.startswith("vhdx")
        if vhdx and (image.sector != 512 or len(image.files) > 1):
            return
        name = image.files[0]
        kind = "vhdx" if vhdx else "vpc"
        if vhdx:
            self.run("qemu-img", "check", "-q", "-f", "vhdx", name)
            self.counts["qemu-img check"] += 1
        told = json.loads(self.run("qemu-img", "info", "--output=json", "-f", kind, name))
        if told["virtual-size"] != image.size:
            raise Failure("qemu-img info: %d bytes" % told["virtual-size"])
        self.run("qemu-img", "compare", "-q", "-f", kind, "-F", "raw", name, image.truth)
        self.counts["qemu-img compare"] += 1

    def look(self, image):
        self.counts["images"] += 1
        self.counts["images, " + image.format] += 1
        if len(image.files) > 1:
            self.counts["chains of %d files" % len(image.files)] += 1
        if image.format != "raw":
            self.run(self.varve, "disk", "check", "--quiet", image.files[0])
            self.look_with_qemu(image)
            self.look_with_7zip(image)
            self.look_with_libvhdi(image)
        self.compare_stream(image, "varve", [self.varve, "disk", "convert", "--to", "raw",
                                             image.files[0], "-"])

    # ---- more files from those ----

    def convert(self, image):
        target = self.random.choice(["raw", "vhd", "vhd-fixed", "vhdx", "vhdx-fixed"])
        known = 512 if image.format == "raw" else image.sector  # a raw image does not tell
        name = "converted." + target.split("-")[0]
        words = [self.varve, "disk", "convert", "--to", target, "--no-sync", image.files[0]]
        if known != 512 and target.startswith("vhd") and not target.startswith("vhdx"):
            self.run(*words, name, ok=(2,))
            if os.path.exists(self.path(name)):
                raise Failure("a VHD was made of 4096-byte sectors")
            return
        if target.startswith("vhdx") and self.random.random() < 0.5:
            words += ["--block-size", "%dM" % (1 << self.random.randrange(9))]
        if self.random.random() < 0.5:
            with open(self.path(name), "wb") as out:
                out.write(self.run(*words, "-"))
        else:
            self.run(*words, name, *(["--sparse"] if self.random.random() < 0.5 else []))
        self.look(Image(target, known if target != "raw" else 512, image.size, image.truth, [name]))
        self.counts["converted"] += 1

    def read_qemu_file(self, image):
        kind, options = self.random.choice([
            ("vhdx", "subformat=dynamic,block_size=%dM" % (1 << self.random.randrange(9))),
            ("vhdx", "subformat=dynamic,block_state_zero=off"),
            ("vhdx", "subformat=fixed"),
            ("vpc", "subformat=dynamic,force_size=on"),
            ("vpc", "subformat=fixed,force_size=on"),
        ])
        name = "qemu." + {"vhdx": "vhdx", "vpc": "vhd"}[kind]
        self.run("qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, image.truth, name)
        self.run(self.varve, "disk", "check", "--quiet", name)
        self.compare_stream(image, "varve, of files made by qemu-img",
                            [self.varve, "disk", "convert", "--to", "raw", name, "-"])

    # ---- seeds ----

    def make(self):
        if self.seed % 5 != 0:
            lines = self.run(os.path.join(self.tools, "disk_gen"), str(self.seed), ".")
        else:
            lines = self.run(os.path.join(self.tools, "restore_gen"), "--lines", str(self.seed), ".")
        images = []
        for line in lines.decode().splitlines():
            words = line.split("\t")
            images.append(Image(words[0], int(words[1]), int(words[2]), words[3], words[4:]))
        return images

    def run_seed(self, seed):
        self.seed = seed
        self.random = random.Random(seed)
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)
        images = self.make()
        for image in images:
            try:
                self.look(image)
            except (Failure, OSError) as problem:
                raise Failure("%s: %s" % ("  ".join(image.files), problem)) from problem
        chosen = self.random.choice(images)
        try:
            self.convert(chosen)
            if all(image.sector == 512 for image in images):
                self.read_qemu_file(chosen)
        except (Failure, OSError) as problem:
            raise Failure("made of %s: %s" % (chosen.files[0], problem)) from problem


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--first", type=int, default=int(os.environ.get("VARVE_DISK_FIRST", "1")))
    parser.add_argument("--images", type=int, default=int(os.environ.get("VARVE_DISK_IMAGES", "200")))
    parser.add_argument("--keep", help="work in this folder and leave it")
    options = parser.parse_args()
    for program in "qemu-img", "7z":
        if shutil.which(program) is None:
            print("skipped: no", program)
            return 77
    top = options.keep or tempfile.mkdtemp(prefix="varve-disk-")
    lab = Lab(os.path.abspath(options.build), os.path.join(top, "work"))
    os.makedirs(top, exist_ok=True)
    seed = options.first
    try:
        while lab.counts["images"] < options.images:
            lab.run_seed(seed)
            seed += 1
    except Failure as problem:
        print("FAILED: seed %d: %s" % (seed, problem))
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(top, ignore_errors=True)
    print("seeds %d to %d" % (options.first, seed - 1))
    for name, count in sorted(lab.counts.items()):
        print("%7d %s" % (count, name))
    return 0


sys.exit(main())
