/** Something whose properties can be listened to. */
export class Observable {
  listeners = [];

  /** Call a listener after changes of any of these names (separated by spaces), and once now. */
  on(names, listener) {
    this.listeners.push({ names: names.split(" "), listener });
    listener();
  }

  /** Change properties, and what follows from them, and tell who listens. */
  set(changes) {
    const changed = Object.keys(changes).filter((name) => this[name] !== changes[name]);
    if (changed.length === 0) return;
    Object.assign(this, changes);
    changed.push(...this.derive(changed));
    for (const { names, listener } of this.listeners) {
      if (names.some((name) => changed.includes(name))) listener();
    }
  }

  /** Compute what follows from changed properties. @returns {string[]} Names of what has changed with them. */
  derive() {
    return [];
  }
}
