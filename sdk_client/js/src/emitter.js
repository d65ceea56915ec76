// Callbacks by the name of what happened.

export class Emitter {
  #callbacks = new Map();

  /** Call `callback` whenever `name` happens; the function returned ends that. */
  on(name, callback) {
    const callbacks = this.#callbacks.get(name) ?? new Set();
    const call = (what) => callback(what); // the same function may be registered twice
    this.#callbacks.set(name, callbacks.add(call));
    return () => void callbacks.delete(call);
  }

  clear() {
    this.#callbacks.clear();
  }

  emit(name, what) {
    for (const call of [...(this.#callbacks.get(name) ?? [])]) {
      try {
        call(what);
      } catch (error) {
        // A callback that throws is the page's fault to see, and must not stop the client.
        if (globalThis.reportError) reportError(error);
        else console.error(error);
      }
    }
  }
}
