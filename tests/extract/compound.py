"""Compound files (OLE2) as old Office and Outlook wrote them, made from nothing: for tests and for the fuzzer's corpus. Only what readers look at."""
import struct

FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def compound(tree, mini_cutoff=4096):
    """tree: {name: bytes or a tree}. Version 3: sectors of 512 bytes, small streams in the mini stream."""
    entries, data, mini, mini_next = [["Root Entry", 5, FREE, FREE, FREE, END, 0]], [], bytearray(), []

    def put(level):
        """The entries of one folder as a chain to the right, which is a tree, too."""
        first = last = FREE
        for name, what in level.items():
            i = len(entries)
            entries.append([name, 1 if isinstance(what, dict) else 2, FREE, FREE, FREE, 0, 0])
            if last == FREE:
                first = i
            else:
                entries[last][3] = i
            last = i
            if isinstance(what, dict):
                entries[i][4] = put(what)
            elif len(what) < mini_cutoff:
                entries[i][5], entries[i][6] = (len(mini_next) if what else END), len(what)
                n = (len(what) + 63) // 64
                mini_next.extend([len(mini_next) + k + 1 for k in range(n - 1)] + [END] * (n > 0))
                mini.extend(what.ljust(n * 64, b"\0"))
            else:
                entries[i][5], entries[i][6] = len(data), len(what)  # which, for now: sectors come later
                data.append(what)
        return first

    entries[0][4] = put(tree)
    sectors, chain = [], []

    def store(blob):
        if not blob:
            return END
        first, n = len(sectors), (len(blob) + 511) // 512
        for k in range(n):
            sectors.append(blob[k * 512:(k + 1) * 512].ljust(512, b"\0"))
            chain.append(first + k + 1 if k + 1 < n else END)
        return first

    for e in entries[1:]:
        if e[1] == 2 and e[6] >= mini_cutoff:
            e[5] = store(data[e[5]])
    entries[0][5], entries[0][6] = store(bytes(mini)), len(mini)
    table = store(struct.pack(f"<{len(mini_next)}I", *mini_next).ljust((len(mini_next) * 4 + 511) // 512 * 512, b"\xff") if mini_next else b"")
    n_table = (len(mini_next) * 4 + 511) // 512
    raw = b""
    for name, kind, left, right, child, start, size in entries:
        units = name.encode("utf-16le")
        raw += units.ljust(64, b"\0") + struct.pack("<HBBIII", len(units) + 2, kind, 1, left, right, child) + b"\0" * 36 + struct.pack("<IQ", start, size)
    directory = store(raw + b"\0" * (-len(raw) % 512))
    n_fat = 1
    while n_fat * 128 < len(sectors) + n_fat:
        n_fat += 1
    fats = list(range(len(sectors), len(sectors) + n_fat))
    chain += [FAT] * n_fat
    fat = struct.pack(f"<{len(chain)}I", *chain).ljust(n_fat * 512, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
    header += struct.pack("<IIIIIIIIII", 0, n_fat, directory, 0, mini_cutoff, table, n_table, END, 0, fats[0])
    header += struct.pack(f"<{n_fat - 1}I", *fats[1:])
    return header.ljust(512, b"\xff") + b"".join(sectors) + fat


# ---- Word ----

def word(pieces, flags=0):
    """pieces: str is stored as UTF-16, bytes as 8-bit. Word 97's head, its piece table in 1Table."""
    doc, cps, descriptions = bytearray(0x400), [0], b""
    for p in pieces:
        if isinstance(p, bytes):
            descriptions += struct.pack("<HIH", 0, 0x40000000 | len(doc) * 2, 0)
            doc += p
            cps.append(cps[-1] + len(p))
        else:
            doc += b"\0" * (len(doc) % 2)
            descriptions += struct.pack("<HIH", 0, len(doc), 0)
            doc += p.encode("utf-16le")
            cps.append(cps[-1] + len(p.encode("utf-16le")) // 2)
    plc = struct.pack(f"<{len(cps)}I", *cps) + descriptions
    clx = b"\x01" + struct.pack("<H", 3) + b"abc" + b"\x02" + struct.pack("<I", len(plc)) + plc
    struct.pack_into("<HHHHHH", doc, 0, 0xA5EC, 0xC1, 0, 0x409, 0, 0x200 | flags)
    struct.pack_into("<II", doc, 0x18, 0x400, len(doc))
    struct.pack_into("<I", doc, 0x4C, cps[-1])
    struct.pack_into("<II", doc, 0x1A2, 16, len(clx))
    return {"WordDocument": bytes(doc), "1Table": b"\0" * 16 + clx, "\x05SummaryInformation": summary("A title", "An author", 1717410000)}


def word_95(text, lid):
    doc = bytearray(0x300)
    struct.pack_into("<HHHHHH", doc, 0, 0xA5DC, 104, 0, lid, 0, 0)
    struct.pack_into("<II", doc, 0x18, 0x300, 0x300 + len(text))
    return {"WordDocument": bytes(doc + text)}


def summary(title, author, saved):
    values = [(1, struct.pack("<IHH", 2, 1252, 0))]
    for number, text in ((2, title), (4, author)):
        raw = text.encode("cp1252") + b"\0"
        values.append((number, struct.pack("<II", 30, len(raw)) + raw + b"\0" * (-len(raw) % 4)))
    values.append((13, struct.pack("<IQ", 64, (saved + 11644473600) * 10000000)))
    at, index, body = 8 + 8 * len(values), b"", b""
    for number, raw in values:
        index += struct.pack("<II", number, at + len(body))
        body += raw
    section = struct.pack("<II", at + len(body), len(values)) + index + body
    return struct.pack("<HHI", 0xFFFE, 0, 2) + b"\0" * 16 + struct.pack("<I", 1) + b"\0" * 16 + struct.pack("<I", 48) + section


# ---- Excel ----

def record(kind, body=b""):
    return struct.pack("<HH", kind, len(body)) + body


def cell(row, column, style=0):
    return struct.pack("<HHH", row, column, style)


def excel_string(text):
    wide = any(ord(c) > 255 for c in text)
    return struct.pack("<HB", len(text), wide) + text.encode("utf-16le" if wide else "latin-1")


def excel(sheets, strings=(), cut=(), flags=b""):
    """sheets: [(name, records)]. cut: the table of strings goes on in another record after so many bytes."""
    table = struct.pack("<II", len(strings), len(strings)) + b"".join(excel_string(s) for s in strings)
    parts, at = [], 0
    for c in cut:
        parts.append(table[at:c])
        at = c
    parts.append(table[at:])
    sst = record(0xFC, parts[0]) + b"".join(record(0x3C, p) for p in parts[1:])
    formats = record(0x41E, struct.pack("<H", 170) + excel_string("d mmm yyyy")) + record(0x41E, struct.pack("<H", 171) + excel_string('0.00" days"'))
    styles = b"".join(record(0xE0, struct.pack("<HH", 0, f) + b"\0" * 16) for f in (0, 170, 171, 14))
    common = record(0x809, struct.pack("<HHHH", 0x600, 5, 0, 0) + b"\0" * 8) + flags + formats + styles
    bodies = [record(0x809, struct.pack("<HHHH", 0x600, 16, 0, 0) + b"\0" * 8) + body + record(0x0A) for _, body in sheets]
    names = [struct.pack("<BB", len(n), 0) + n.encode("latin-1") for n, _ in sheets]
    at = len(common) + sum(4 + 6 + len(n) for n in names) + len(sst) + 4
    bound = b""
    for n, body in zip(names, bodies):
        bound += record(0x85, struct.pack("<IBB", at, 0, 0) + n)
        at += len(body)
    return {"Workbook": common + bound + sst + record(0x0A) + b"".join(bodies)}


# ---- PowerPoint ----

def atom(kind, body=b"", instance=0):
    return struct.pack("<HHI", instance << 4, kind, len(body)) + body


def holder(kind, *inside, instance=0):
    body = b"".join(inside)
    return struct.pack("<HHI", instance << 4 | 15, kind, len(body)) + body


def slides(list_of, removed, notes):
    """list_of: [(title, box)]; removed: text of a slide that an earlier save had; notes: {slide's place: text}."""
    stream, places = b"", {}

    def put(number, raw):
        nonlocal stream
        places[number] = len(stream)
        stream += raw

    put(50, holder(0x03EE, holder(0xF00D, atom(0x0FA8, removed.encode("latin-1")))))
    put(1, holder(0x03E8, holder(0x0FF0, atom(0x03F3, struct.pack("<IIiII", 50, 0, 1, 256, 0)), atom(0x0FA8, removed.encode("latin-1")))))
    directory = len(stream)
    stream += atom(0x1772, struct.pack("<III", 1 | 1 << 20, places[1], 50 | 1 << 20) + struct.pack("<I", places[50]))
    edit = len(stream)
    stream += atom(0x0FF5, struct.pack("<IIIIIII", 0, 0, 0, directory, 1, 50, 0))
    listed, noted = b"", b""
    for i, (title, box) in enumerate(list_of):
        put(10 + i, holder(0x03EE, holder(0xF00D, atom(0x0F9F, struct.pack("<I", 4)), atom(0x0FA0, box.encode("utf-16le")))))
        listed += atom(0x03F3, struct.pack("<IIiII", 10 + i, 0, 1, 300 + i, 0)) + atom(0x0F9F, struct.pack("<I", 0)) + atom(0x0FA8, title.encode("latin-1"))
    for i, (place, text) in enumerate(notes.items()):
        put(30 + i, holder(0x03F0, atom(0x03F1, struct.pack("<II", 300 + place, 0)), holder(0xF00D, atom(0x0FA8, text.encode("latin-1")))))
        noted += atom(0x03F3, struct.pack("<IIiII", 30 + i, 0, 0, 400 + i, 0))
    put(1, holder(0x03E8, holder(0x0FF0, listed), holder(0x0FF0, noted, instance=2)))
    directory = len(stream)
    stream += atom(0x1772, b"".join(struct.pack("<II", n | 1 << 20, p) for n, p in sorted(places.items()) if n != 50))
    newest = len(stream)
    stream += atom(0x0FF5, struct.pack("<IIIIIII", 0, 0, edit, directory, 1, 60, 0))
    user = atom(0x0FF6, struct.pack("<III", 20, 0xE391C05F, newest) + b"\0" * 8)
    return {"PowerPoint Document": stream, "Current User": user}


# ---- Outlook ----

def properties(top, **times):
    body = b"".join(struct.pack("<HHIQ", 0x40, {"sent": 0x39}[k], 6, (t + 11644473600) * 10000000) for k, t in times.items())
    return b"\0" * (32 if top else 24) + body


def message(top=True, sent=None, attachments=(), recipients=(), **texts):
    """texts: a property's number as p0037="..." (UTF-16), b"..." for 8-bit text, r1013=bytes for bytes. attachments: bytes with a name, or a tree."""
    tree = {"__properties_version1.0": properties(top, **({"sent": sent} if sent else {}))}
    for key, value in texts.items():
        kind = "0102" if key[0] == "r" else "001F" if isinstance(value, str) else "001E"
        tree[f"__substg1.0_{key[1:]}{kind}"] = value.encode("utf-16le") if isinstance(value, str) else value
    for i, (name, mail) in enumerate(recipients):
        tree[f"__recip_version1.0_#{i:08X}"] = {"__substg1.0_3001001F": name.encode("utf-16le"), "__substg1.0_39FE001F": mail.encode("utf-16le")}
    for i, (name, what) in enumerate(attachments):
        folder = {"__substg1.0_3707001F": name.encode("utf-16le")}
        folder["__substg1.0_3701000D" if isinstance(what, dict) else "__substg1.0_37010102"] = what
        tree[f"__attach_version1.0_#{i:08X}"] = folder
    return tree


def lzfu(rtf):
    """Compressed RTF with nothing but literals and the end's mark."""
    body, at = b"", 0
    window = 207
    while True:
        piece = rtf[at:at + 8]
        at += len(piece)
        window = (window + len(piece)) % 4096
        if len(piece) == 8:
            body += b"\0" + piece
            continue
        body += bytes([1 << len(piece)]) + piece + struct.pack(">H", window << 4)
        return struct.pack("<IIII", len(body) + 12, len(rtf), 0x75465A4C, 0) + body
