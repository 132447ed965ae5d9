// Keeps the editor of a cell open while the server changes the table. Panel draws all rows anew with each change, which
// closes the editor; here, the rows are drawn once the editor is closed.

const WRAPPED = Symbol("waits for the editor")
const PENDING = Symbol("drawing once the editor is closed")
const LOOK_MILLISECONDS = 50

function wait_for_the_editor(prototype, name) {
  const draw = prototype[name]
  prototype[name] = function () {
    if (!this._has_active_editor()) {
      return draw.call(this)
    }
    this[PENDING] ??= new Promise((done) => {
      const look = () => {
        if (this._has_active_editor()) {
          setTimeout(look, LOOK_MILLISECONDS)
          return
        }
        delete this[PENDING]
        done(this.el.isConnected ? draw.call(this) : undefined)
      }
      setTimeout(look, LOOK_MILLISECONDS)
    })
    return this[PENDING]
  }
}

function keep_editors(view) {
  const prototype = Object.getPrototypeOf(view)
  if (typeof prototype._has_active_editor === "function" && !Object.hasOwn(prototype, WRAPPED)) {
    prototype[WRAPPED] = true
    wait_for_the_editor(prototype, "setData")
    wait_for_the_editor(prototype, "updateOrAddData")
  }
  for (const part of view.children()) {
    keep_editors(part)
  }
}

export function render({view}) {
  // Tables are drawn later than this; a click or a key in the first of them is early enough.
  const kinds = ["pointerdown", "keydown"]
  const prepare = (event) => {
    const is_table = (element) => element instanceof Element && element.classList.contains("tabulator")
    if (event.composedPath().some(is_table)) {
      keep_editors(view.root)
      kinds.forEach((kind) => document.removeEventListener(kind, prepare, true))
    }
  }
  kinds.forEach((kind) => document.addEventListener(kind, prepare, true))
  return document.createElement("span")
}
