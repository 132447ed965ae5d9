// Lays the page out once after several changes. Bokeh does so after each change of a property that may affect the
// layout and after each element that was resized, over all open screens; one message of the server has dozens of them.

const WRAPPED = Symbol("layouts are combined")

const waiting = new Map()  // root of a layout -> whether the styles of its parts have to be set first

function lay_out(root, compute) {
  const styles = waiting.get(root)
  waiting.delete(root)
  if (root.el.isConnected) {
    if (styles) {
      root.update_layout()
    }
    compute.call(root)
  }
}

function combine(prototype) {
  const {invalidate_layout, compute_layout} = prototype
  const replace = (name, original, styles) => {
    prototype[name] = function () {
      // Parts of a page pass the request on to it; the first layout is part of drawing the page.
      if (this.is_managed || !this._layout_computed) {
        original.call(this)
        return
      }
      if (!waiting.has(this)) {
        setTimeout(() => lay_out(this, compute_layout))
      }
      waiting.set(this, styles || waiting.get(this) === true)
    }
  }
  replace("invalidate_layout", invalidate_layout, true)
  replace("compute_layout", compute_layout, false)
  prototype[WRAPPED] = true
}

export function render({view}) {
  for (let one = Object.getPrototypeOf(view); one !== null; one = Object.getPrototypeOf(one)) {
    if (Object.hasOwn(one, "invalidate_layout") && Object.hasOwn(one, "compute_layout") && !Object.hasOwn(one, WRAPPED)) {
      combine(one)
    }
  }
  return document.createElement("span")
}
