// The keyboard of the whole page, the list of its shortcuts, the address, a way past the header, and short messages.

const OFF = "xxact-single-keys-off"
const SHOWN = 4000
const TYPING = ["textbox", "searchbox", "combobox", "listbox", "option", "menu", "menuitem", "spinbutton", "slider"]
const PRESSED = ["checkbox", "radio", "button", "submit", "reset", "file"]
const MAC = /Mac|iPhone|iPad/.test(navigator.platform)

// Whether what has the focus takes letters, digits or arrows for itself; seen through every shadow root.
function takes_keys(event) {
  const target = event.composedPath()[0]
  if (!(target instanceof Element)) {
    return false
  }
  const name = target.tagName
  const typed = name === "INPUT" && !PRESSED.includes(target.type)
  return typed || name === "TEXTAREA" || name === "SELECT" || target.isContentEditable ||
    TYPING.includes(target.getAttribute("role"))
}

// The name of a pressed key as the server's table has it; nothing for keys with Alt, which belong to the layout.
function key_name(event) {
  if (event.altKey || event.getModifierState("AltGraph")) {
    return ""
  }
  const mod = event.ctrlKey || event.metaKey
  return (mod ? "mod+" : "") + (mod && event.shiftKey ? "shift+" : "") + event.key.toLowerCase()
}

function key_words(key) {
  const names = {mod: MAC ? "⌘" : "Ctrl", shift: MAC ? "⇧" : "Shift"}
  return key.split("+").map((part) => names[part] ?? part.toUpperCase())
}

function make(tag, {text, ...attributes} = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value)
  }
  element.append(...(text == null ? children : [text]))
  return element
}

// The first element that fits, in the page or in any shadow root of it.
function find(selector, root = document) {
  const found = root.querySelector(selector)
  if (found) {
    return found
  }
  for (const element of root.querySelectorAll("*")) {
    const deeper = element.shadowRoot && find(selector, element.shadowRoot)
    if (deeper) {
      return deeper
    }
  }
  return null
}

function key_cell(keys) {
  const cell = make("td")
  keys.forEach((key, number) => {
    cell.append(...(number > 0 ? [" or "] : []))
    key_words(key).forEach((part, place) => cell.append(...(place > 0 ? [" "] : []), make("kbd", {text: part})))
  })
  return cell
}

function sheet(shortcuts) {
  const dialog = make("dialog", {"aria-labelledby": "title"})
  const close = make("button", {type: "button", text: "Close"})
  close.addEventListener("click", () => dialog.close())
  const lists = make("div", {class: "lists"})
  for (const group of new Set(shortcuts.map((one) => one.group))) {
    const body = make("tbody")
    for (const one of shortcuts.filter((other) => other.group === group)) {
      body.append(make("tr", {}, key_cell(one.keys), make("th", {scope: "row", text: one.words})))
    }
    if (group === "Everywhere") {
      body.append(make("tr", {}, key_cell(["?"]), make("th", {scope: "row", text: "This list"})))
    }
    lists.append(make("table", {}, make("caption", {text: group}), body))
  }
  const off = make("input", {type: "checkbox"})
  off.checked = localStorage.getItem(OFF) === "yes"
  off.addEventListener("change", () => localStorage.setItem(OFF, off.checked ? "yes" : "no"))
  const label = make("label", {}, off, " Switch single keys off; those with Ctrl or ⌘ stay")
  const about = make("p", {text: "They rest while a field is being filled in."})
  dialog.append(make("div", {class: "head"}, make("h2", {id: "title", text: "Keyboard shortcuts"}), close), about, lists,
    label)
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {  // on what is around it
      dialog.close()
    }
  })
  return dialog
}

export function render({model}) {
  const skip = make("a", {href: "#", class: "skip", text: "Skip to the screens"})
  skip.addEventListener("click", (event) => {
    event.preventDefault()
    find("[role=tab][aria-selected=true]")?.focus()
  })
  const dialog = sheet(model.shortcuts)
  const said = make("div", {class: "said", role: "status"})
  const open = () => {
    if (!dialog.open) {
      dialog.showModal()
    }
  }
  const known = new Map(model.shortcuts.flatMap((one) => one.keys.map((key) => [key, one])))
  const removed = new AbortController()

  document.addEventListener("keydown", (event) => {
    const key = key_name(event)
    const rests = !key.startsWith("mod+") && localStorage.getItem(OFF) === "yes"
    if (event.defaultPrevented || rests || dialog.open || takes_keys(event)) {
      return
    }
    if (key === "?") {
      event.preventDefault()
      open()
    } else if (known.has(key)) {
      event.preventDefault()
      const button = known.get(key).clicks
      if (button === "") {
        model.send_msg({key})
      } else {
        find(`button[aria-label="${button}"]`)?.click()
      }
    }
  }, {signal: removed.signal})

  model.on("msg:custom", (message) => {
    if (message.kind === "list") {
      open()
    }
  })

  let silence = null
  model.on("said", () => {
    clearTimeout(silence)
    said.textContent = model.said.text
    said.classList.add("shown")
    silence = setTimeout(() => {
      said.classList.remove("shown")
      said.textContent = ""
    }, SHOWN)
  })

  const write_address = () => {
    const address = new URL(window.location.href)
    for (const name of model.names) {
      address.searchParams.delete(name)
    }
    for (const [name, value] of new URLSearchParams(model.query)) {
      address.searchParams.append(name, value)
    }
    if (address.href !== window.location.href) {
      window.history.replaceState(window.history.state, "", address)
    }
  }
  model.on("query", write_address)
  model.on("remove", () => removed.abort())
  write_address()

  return make("div", {}, skip, dialog, said)
}
