#!/usr/bin/env python3
"""What a document says at a place: the page with the hit marked, as the node shows it and hits link to it."""
import os
import re
import select
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Node, run_tests, test, wait_for
from papers import PROGRAM, Papers, Png, cli, marked, pdf


def bearer(key):
    return {"Authorization": "Bearer " + key}


@test
def a_hit_links_to_its_page_with_the_words_marked():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("contract.pdf", pdf([[(72, 100, "First page about the house.")],
                                        [(72, 100, "The deposit of the flat is 2400 euros."), (72, 700, "Signed in spring.")]]))
        cli(node, "index", "add", papers.folder, "--wait")
        hit = node.get("/search?q=deposits%20%26%20flat").json["hits"][0]
        assert hit["page"] == 2 and hit["type"] == "pdf" and papers.folder not in hit["link"], hit
        html = node.get(hit["link"])
        assert html.status == 200 and html.headers["Content-Type"].startswith("text/html"), html.body
        assert marked(html.body.decode()) == ["deposit", "flat"], html.body
        assert "private" in html.headers["Cache-Control"] and html.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "default-src 'none'" in html.headers["Content-Security-Policy"]
        # The page's own picture is the one of the hit.
        image = re.search(r'<img alt="the page" src="(.*?)"', html.body.decode()).group(1).replace("&#38;", "&")
        assert image == hit["image"]
        answer = node.get(hit["image"])
        assert answer.status == 200 and answer.headers["Content-Type"] == "image/png" and "private" in answer.headers["Cache-Control"]
        png = Png(answer.body)
        # "deposit" is at about 98 to 145 points of 612; "is" further right is not marked as strongly.
        assert png.share_of_yellow(100 / 612, 90 / 792, 140 / 612, 100 / 792) > 0.6
        assert png.share_of_yellow(100 / 612, 690 / 792, 160 / 612, 698 / 792) == 0 # the passage's other blocks are not marked
        assert png.share_of_yellow(0, 0.2, 1, 0.8) == 0
        plain = Png(node.get(hit["image"].split("?")[0]).body)
        assert plain.width == png.width and plain.share_of_yellow(0, 0, 1, 1) == 0
        small = Png(node.get(hit["image"] + "&dpi=36").body)
        assert small.width == 306
        # Other pages can be turned to.
        first = re.search(r'<a href="(.*?)">page 1<', html.body.decode()).group(1).replace("&#38;", "&")
        assert "First page" in node.get(first).body.decode()
        assert node.get(hit["image"].replace("/page/2.png", "/page/3.png")).status == 404
        assert "deposit" not in node.log()


@test
def text_without_pages_is_shown_with_the_hit_marked():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("notes.txt", "\n\n".join(f"Paragraph {i} " + "of many words that fill it " * 40 for i in range(30))
                   + "\n\nThe <b>pump</b> & its 'valve' leak.")
        cli(node, "index", "add", papers.folder, "--wait")
        hit = node.get("/search?q=pump%20leaks").json["hits"][0]
        assert hit["page"] is None and "page" in hit and "image" not in hit and "/page/" not in hit["link"], hit
        html = node.get(hit["link"]).body.decode()
        assert "&#60;b&#62;<mark>pump</mark>&#60;/b&#62; &#38;" in html and "<mark>leak</mark>" in html and 'id="hit"' in html
        assert "Paragraph 29" in html and "Paragraph 1 " not in html and "notes.txt" in html
        picture = node.get(hit["link"].split("?")[0] + "/page/1.png")
        assert picture.status == 404 and "not drawn" in picture.error()["message"]
        assert "page" not in cli(node, "search", "pump").split("\n")[0]


@test
def wrong_places_are_refused():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        path = papers.put("a.pdf", pdf([[(72, 100, "A walnut tree.")]]))
        assert node.get("/documents/" + "0" * 32).status == 404
        cli(node, "index", "add", papers.folder, "--wait")
        hit = node.get("/search?q=walnut").json["hits"][0]
        base = hit["link"].split("/page/")[0]
        for bad in ("/documents/", "/documents/abc", "/documents/" + "0" * 32, "/documents/" + "Z" * 32, base + "/page/0", base + "/page/1.jpg",
                    base + "/page/99999", base + "/x", base + "/page/1?part=7", base + "/../../etc/passwd"):
            assert node.get(bad).status == 404, bad
        for bad in ("?part=-1", "?part=x", "?dpi=1000", "?dpi=1", "?passage=-3", "?q=" + "a" * 2100):
            assert node.get(base + "/page/1.png" + bad).status == 400, bad
        assert node.post(base, {}).status == 405
        # A page of another site may neither ask for it nor, by its headers, embed it.
        assert node.get(hit["link"], headers={"Origin": "https://elsewhere.example"}).status == 403
        # What has changed since is not drawn with the old boxes, what is gone is gone.
        with open(path, "ab") as f:
            f.write(b"%")
        assert node.get(hit["image"]).status in (404, 409)
        os.unlink(path)
        wait_for("the document to be gone", 30, lambda: node.get(hit["link"]).status == 404, 0.1)


@test
def papers_are_shown_to_keys_for_documents_only():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("a.pdf", pdf([[(72, 100, "A walnut tree.")]]))
        cli(node, "index", "add", papers.folder, "--wait")
        hit = node.get("/search?q=walnut").json["hits"][0]
        chat = cli(node, "key", "add", "guest", "--scope", "chat,embed,admin").strip()
        reader = cli(node, "key", "add", "reader", "--scope", "documents").strip()
        for place in (hit["link"], hit["image"]):
            assert node.get(place).status == 401
            assert node.get(place, headers=bearer(chat)).status == 403
            assert node.get(place, headers=bearer(reader)).status == 200


@test
def files_are_found_by_their_names():
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("boiler_manual-2019.pdf", pdf([[(72, 100, "Chapter one: the pressure valve.")]]))
        papers.put("Taxes/RentContract.txt", "Signed in spring by both.")
        papers.put("song.mp3", b"ID3\x03" + bytes(400))
        mail = "From: Ann <ann@example.org>\nSubject: Hello\n\nThe walnuts are ripe.\n"
        papers.put("mail/cur/1700000000.walrus.host:2,S", mail)
        os.makedirs(os.path.join(papers.folder, "mail", "new"))
        cli(node, "index", "add", papers.folder, "--wait")

        def files(q, more=""):
            return [os.path.basename(h["file"]) for h in node.get("/search?q=" + q.replace(" ", "%20") + more).json["hits"]]

        [hit] = node.get("/search?q=boilers%20manuals").json["hits"]
        assert hit["file"].endswith("boiler_manual-2019.pdf") and hit["page"] == 1 and "pressure valve" in hit["snippet"] and hit["share"] == 1, hit
        assert node.get(hit["image"]).status == 200
        # The name's words and the text's are the document's: one hit, with all of what was asked.
        [hit] = node.get("/search?q=boiler%20valve&least=90").json["hits"]
        assert hit["share"] == 1
        assert files("rent contract") == ["RentContract.txt"] and files("2019") == ["boiler_manual-2019.pdf"] and files("song") == ["song.mp3"]
        assert files("boiler", "&type=pdf") == ["boiler_manual-2019.pdf"] and files("boiler", "&type=plain") == []
        assert files('"boiler manual"') == ["boiler_manual-2019.pdf"] and files("walrus") == [] and len(files("walnuts")) == 1
        before = node.get("/hearth/index").json
        os.rename(os.path.join(papers.folder, "boiler_manual-2019.pdf"), os.path.join(papers.folder, "heater.pdf"))
        os.rename(os.path.join(papers.folder, "Taxes"), os.path.join(papers.folder, "Duties"))
        wait_for("the new name to be found", 30, lambda: files("heater") == ["heater.pdf"] and files("boiler") == [], 0.1)
        wait_for("the other folder", 30, lambda: "/Duties/" in node.get("/search?q=rent").json["hits"][0]["file"], 0.1)
        os.unlink(os.path.join(papers.folder, "heater.pdf"))
        wait_for("the name to be gone", 30, lambda: files("heater") == [] and files("valve") == [], 0.1)
        after = node.get("/hearth/index").json
        assert after["extracted"] == before["extracted"], (before, after) # nothing was read for it


@test
def leaving_while_a_page_is_drawn_and_stopping_then_harm_nothing():
    lines = [(40, 30 + 9 * i, f"Walnut {i} " * 8) for i in range(80)]
    with Papers() as papers, Node([PROGRAM, "serve"]) as node:
        papers.put("a.pdf", pdf([lines] * 3))
        cli(node, "index", "add", papers.folder, "--wait")
        image = node.get("/search?q=walnut").json["hits"][0]["image"] + "&dpi=300"

        def ask_and_leave_open():
            s = node.connect()
            s.sendall(f"GET {image} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return s

        for _ in range(12): # some before their record is read, some while they wait, some while they are drawn
            ask_and_leave_open().close()
        waiting = [ask_and_leave_open() for _ in range(3)]
        assert node.get(image).status == 200
        # More than may be looked at at once are told to come again.
        many = [ask_and_leave_open() for _ in range(40)]
        heard = set()

        def told():
            new = [s for s in select.select([s for s in many if s not in heard] or [many[0]], [], [], 0.1)[0] if s not in heard]
            heard.update(new)
            return any(b" 503 " in s.recv(13) for s in new)

        wait_for("one is told to come again", 60, told)
        last = [ask_and_leave_open() for _ in range(5)]
        node.stop()
        for s in waiting + many + last:
            s.close()


run_tests()
