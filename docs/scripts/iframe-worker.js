// A worker for pages that are opened from disk, where browsers refuse a real one. Its script runs in a hidden frame.
// The search of the site is such a script; without this class, the site would load one from the network.
"use strict";

class FrameWorker extends EventTarget {
  constructor(address) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    this.inside = this.frame.contentWindow;
    this.inside.document.open();
    this.inside.document.write("<!doctype html><body></body>");
    this.inside.document.close();
    this.furnish();
    this.ready = this.load(address);
    this.ready.catch(() => this.tell(new ErrorEvent("error", { message: `${address} cannot be loaded` })));
  }

  // Give the frame what a script finds in a worker.
  furnish() {
    this.inside.postMessage = (data) => {
      const copy = structuredClone(data);
      queueMicrotask(() => this.tell(new MessageEvent("message", { data: copy })));
    };
    this.inside.importScripts = (...addresses) =>
      addresses.reduce((before, address) => before.then(() => this.load(address)), Promise.resolve());
    this.inside.addEventListener("error", ({ message, error }) =>
      this.tell(new ErrorEvent("error", { message, error })),
    );
  }

  load(address) {
    return new Promise((resolve, reject) => {
      const script = this.inside.document.createElement("script");
      script.onload = resolve;
      script.onerror = reject;
      script.src = address;
      this.inside.document.body.append(script);
    });
  }

  tell(event) {
    this.dispatchEvent(event);
    this[`on${event.type}`]?.(event);
  }

  postMessage(data) {
    const copy = structuredClone(data);
    this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data: copy })));
  }

  terminate() {
    this.frame.remove();
  }
}

window.IFrameWorker = FrameWorker; // the name that the site's own script asks for
if (location.protocol === "file:") window.Worker = FrameWorker;
