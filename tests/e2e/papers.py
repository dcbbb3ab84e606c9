"""What the tests about documents share: a folder of papers, the program's answers, a PDF made by hand, a PNG looked into."""
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib

PROGRAM = os.environ["HEARTH_PROGRAM"]


def cli(node, *args, code=0, key=None, stdin=None, both=False):
    env = {**os.environ, "HEARTH_HOME": node.home, "HEARTH_LISTEN": f"127.0.0.1:{node.port}", "NO_COLOR": "1"}
    if key:
        env["HEARTH_API_KEY"] = key
    done = subprocess.run([PROGRAM, *args], env=env, capture_output=True, text=True, timeout=240, input=stdin)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return (done.stdout, done.stderr) if both else done.stdout


class Papers:
    def __enter__(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="hearth-papers-"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def put(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        return path


def pdf(pages):
    """A PDF of 612 by 792 points; pages are lists of (x, y from the top, text)."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", None, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        stream = "BT /F1 14 Tf " + " ".join(f"1 0 0 1 {x} {792 - y} Tm ({text}) Tj" for x, y, text in lines) + " ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        kids.append(len(objects) + 1)
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R"
                       " /Resources << /Font << /F1 3 0 R >> >> >>")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{k} 0 R' for k in kids)}] >>"
    out, at = "%PDF-1.4\n", []
    for i, o in enumerate(objects):
        at.append(len(out))
        out += f"{i + 1} 0 obj\n{o}\nendobj\n"
    xref = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{a:010} 00000 n \n" for a in at)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n"
    return out.encode("latin-1")


class Png:
    """8 bits a channel, RGB or RGBA, not interlaced: as Cairo writes them."""

    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        self.width, self.height, depth, kind, _, _, lace = struct.unpack(">IIBBBBB", data[16:29])
        assert depth == 8 and kind in (2, 6) and lace == 0
        self.bpp = 3 if kind == 2 else 4
        at, packed = 8, b""
        while at < len(data):
            n, name = struct.unpack(">I4s", data[at:at + 8])
            if name == b"IDAT":
                packed += data[at + 8:at + 8 + n]
            at += 12 + n
        raw, stride, rows, before = zlib.decompress(packed), self.width * self.bpp, [], bytes(self.width * self.bpp)
        for y in range(self.height):
            f, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
            for x in range(stride):
                a = row[x - self.bpp] if x >= self.bpp else 0
                b, c = before[x], before[x - self.bpp] if x >= self.bpp else 0
                if f == 1:
                    row[x] = row[x] + a & 255
                elif f == 2:
                    row[x] = row[x] + b & 255
                elif f == 3:
                    row[x] = row[x] + (a + b) // 2 & 255
                elif f == 4:
                    p = a + b - c
                    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
                    row[x] = row[x] + (a if pa <= pb and pa <= pc else b if pb <= pc else c) & 255
            rows.append(row)
            before = row
        self.rows = rows

    def at(self, x, y):
        """The color at a place given as fractions."""
        px, py = min(int(x * self.width), self.width - 1), min(int(y * self.height), self.height - 1)
        return tuple(self.rows[py][px * self.bpp:px * self.bpp + 3])

    def share_of_yellow(self, left, top, right, bottom):
        """How much of a box (fractions) is marked: blue much weaker than red."""
        n = all_ = 0
        for y in range(int(top * self.height), int(bottom * self.height)):
            for x in range(int(left * self.width), int(right * self.width)):
                r, _, b = self.rows[y][x * self.bpp:x * self.bpp + 3]
                n += r - b > 60
                all_ += 1
        return n / max(all_, 1)


def marked(html):
    return re.findall(r"<mark>(.*?)</mark>", html)
