# %% [markdown]
# From a study to a served model: tune, finalize, export, and answer requests with the export alone.

# %%
import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
from sklearn.datasets import load_digits

import dnntune

study = dnntune.tune("digits_mlp", name="served", trials=6, workers=2)

# %% The best two once more with two new seeds each; the winner is measured on the test set, once.
final = study.finalize(top=2, seeds=2, workers=2)
low, high = final.model_metrics.interval
print(f"test accuracy {final.model_metrics.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f})")
study.report("served.html")
study.export("served-model")

# %% A server that needs nothing but the folder. (For production: dnntune register, and MLflow's server.)
model = dnntune.load("served-model")


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        pixels = np.array(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), dtype=np.uint8)
        found = model.predict(pixels)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(
            json.dumps({"label": found.labels[0], "probability": float(found.probabilities.max())}).encode()
        )


server = HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()

# %%
image = (load_digits().images[0] * 15).astype(int).tolist()
request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}", json.dumps(image).encode())
with urllib.request.urlopen(request) as answer:
    print("served:", answer.read().decode())
server.shutdown()
