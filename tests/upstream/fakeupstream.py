"""A server of the OpenAI API as small as it can be, which records what it was asked and misbehaves on request."""
import http.server
import json
import threading
import time


class FakeUpstream:
    def __init__(self, key=None, models=("alpha", "org/beta"), port=0, tls=None):
        self.key, self.models = key, list(models)
        self.asked = []      # (path, body)
        self.mode = "ok"
        self.gone = threading.Event()   # a client left in the middle of a stream
        self.active = 0
        self.words = ["Hello", " from", " upstream"]
        self.script = None   # body -> [(delta, finish), ...] of a chat
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def reply(self, code, value):
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def allowed(self):
                if outer.key and self.headers.get("Authorization") != "Bearer " + outer.key:
                    self.reply(401, {"error": {"message": "bad key"}})
                    return False
                return True

            def do_GET(self):
                if self.allowed():
                    if outer.mode == "down":
                        self.reply(500, {"error": "down"})
                    else:
                        self.reply(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in outer.models]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body))
                if not self.allowed():
                    return
                if outer.mode.isdigit():
                    self.reply(int(outer.mode), {"error": {"message": "as told", "type": "exceed_context_size_error" if outer.mode == "400" else "x"}})
                elif self.path.endswith("/embeddings"):
                    self.reply(200, {"data": [{"embedding": [0.6, 0.8], "index": 0}], "usage": {"prompt_tokens": 3}})
                else:
                    outer.active += 1
                    try:
                        self.stream(body)
                    except (BrokenPipeError, ConnectionResetError):
                        outer.gone.set()
                        self.close_connection = True
                    finally:
                        outer.active -= 1

            def chunk(self, value):
                data = value if isinstance(value, bytes) else b"data: " + json.dumps(value).encode() + b"\n\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def stream(self, body):
                chat = self.path.endswith("/chat/completions")
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

                def say(delta, finish=None, text=""):
                    choice = {"index": 0, "delta": delta, "finish_reason": finish} if chat else {"index": 0, "text": text, "finish_reason": finish}
                    if chat and body.get("logprobs") and delta.get("content"):
                        rivals = [{"token": w, "logprob": -1.5 - i, "bytes": list(w.encode())} for i, w in enumerate(("a", "\u00e9"))][:body.get("top_logprobs", 0)]
                        choice["logprobs"] = {"content": [{"token": delta["content"], "logprob": -0.25, "bytes": list(delta["content"].encode()), "top_logprobs": rivals}]}
                    self.chunk({"id": "x", "choices": [choice]})
                if chat and outer.script:
                    for delta, finish in outer.script(body):
                        say(delta, finish)
                    self.chunk({"id": "x", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}})
                    self.chunk(b"data: [DONE]\n\n")
                    self.chunk(b"")
                    return
                if chat:
                    say({"role": "assistant", "content": ""})
                    if outer.mode == "think":
                        say({"reasoning_content": "Let me see."})
                    if outer.mode == "tools":
                        say({"tool_calls": [{"index": 0, "id": "call_7", "type": "function", "function": {"name": "weather", "arguments": ""}}]})
                        for part in ('{"city":', '"Bern"}'):
                            say({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
                        say({}, "tool_calls")
                        self.chunk(b"data: [DONE]\n\n")
                        self.chunk(b"")
                        return
                if outer.mode == "garbage":
                    self.chunk(b"data: {not json\n\n")
                    time.sleep(0.2)
                if outer.mode == "error":
                    say({"content": "He"}, text="He")
                    self.chunk({"error": {"message": "the card is on fire"}})
                    self.chunk(b"")
                    return
                endless = outer.mode == "endless"
                n = 0
                while True:
                    for w in outer.words:
                        say({"content": w}, text=w)
                        n += 1
                        if outer.mode == "cut" and n == 2:
                            self.close_connection = True
                            return
                        if endless:
                            time.sleep(0.02)
                    if not endless or n > 5000:
                        break
                say({}, "length" if body.get("max_tokens") == 3 else "stop")
                self.chunk({"id": "x", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n,
                                                                "prompt_tokens_details": {"cached_tokens": 4}}})
                self.chunk(b"data: [DONE]\n\n")
                self.chunk(b"")

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Quiet(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls:  # an ssl.SSLContext
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
