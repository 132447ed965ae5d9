// Keyboard shortcuts of the page and their list, page address, skip link and notifications.

const OFF = "xxact-single-keys-off"
const NOTICE_MILLISECONDS = 4000
const LOOK_MILLISECONDS = 300
const TYPING = ["textbox", "searchbox", "combobox", "listbox", "option", "menu", "menuitem", "spinbutton", "slider"]
const PRESSED = ["checkbox", "radio", "button", "submit", "reset", "file"]
const MAC = /Mac|iPhone|iPad/.test(navigator.platform)

// Whether the focused element uses letters, digits or arrows itself; also inside shadow roots.
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

// Whether the focus is in the editor of a cell of a table.
function is_cell_edited() {
  let focused = document.activeElement
  while (focused?.shadowRoot?.activeElement) {
    focused = focused.shadowRoot.activeElement
  }
  return focused?.closest(".tabulator-editing") != null
}

// The name of a pressed key as in the table of shortcuts; empty with Alt, which some keyboard layouts need.
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

// The first element that matches, in the page or in any of its shadow roots.
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
      body.append(make("tr", {}, key_cell(["?"]), make("th", {scope: "row", text: "Show this list"})))
    }
    lists.append(make("table", {}, make("caption", {text: group}), body))
  }
  const off = make("input", {type: "checkbox"})
  off.checked = localStorage.getItem(OFF) === "yes"
  off.addEventListener("change", () => localStorage.setItem(OFF, off.checked ? "yes" : "no"))
  const label = make("label", {}, off, " Turn off shortcuts without Ctrl or ⌘")
  const about = make("p", {text: "Shortcuts are inactive while you type in a field."})
  dialog.append(make("div", {class: "head"}, make("h2", {id: "title", text: "Keyboard shortcuts"}), close), about, lists,
    label)
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {  // outside of the dialog
      dialog.close()
    }
  })
  return dialog
}

export function render({model}) {
  const skip = make("a", {href: "#", class: "skip", text: "Skip to content"})
  skip.addEventListener("click", (event) => {
    event.preventDefault()
    find("[role=tab][aria-selected=true]")?.focus()
  })
  const dialog = sheet(model.shortcuts)
  const notice = make("div", {class: "notice", role: "status"})
  const open = () => {
    if (!dialog.open) {
      dialog.showModal()
    }
  }
  const known = new Map(model.shortcuts.flatMap((one) => one.keys.map((key) => [key, one])))
  const removed = new AbortController()

  // Tables are not redrawn while one of their cells is edited. Where a field is removed anyway while the user types,
  // the rest of what is typed must not act as shortcuts.
  // The focus moves within the shadow root of the table, from a cell to its editor, which no event tells the page.
  let field = null  // in which the user types
  let looking = null
  const look = () => {
    model.editing = is_cell_edited()
    clearTimeout(looking)
    if (model.editing) {
      looking = setTimeout(look, LOOK_MILLISECONDS)
    }
  }
  for (const kind of ["focusin", "focusout", "click", "keydown"]) {
    document.addEventListener(kind, () => setTimeout(look), {signal: removed.signal, capture: true})
  }
  document.addEventListener("pointerdown", () => {
    field = null
  }, {signal: removed.signal, capture: true})

  document.addEventListener("keydown", (event) => {
    const key = key_name(event)
    const rests = !key.startsWith("mod+") && localStorage.getItem(OFF) === "yes"
    const ends = ["Enter", "Escape", "Tab"].includes(event.key)
    if (takes_keys(event)) {
      field = ends ? null : event.composedPath()[0]
      return
    }
    const was_removed = field !== null && !field.isConnected
    if (was_removed && !key.startsWith("mod+")) {
      field = ends ? null : field
      return
    }
    field = null
    if (event.defaultPrevented || rests || dialog.open) {
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

  let hide_timer = null
  model.on("notice", () => {
    clearTimeout(hide_timer)
    notice.textContent = model.notice.text
    notice.classList.add("shown")
    hide_timer = setTimeout(() => {
      notice.classList.remove("shown")
      notice.textContent = ""
    }, NOTICE_MILLISECONDS)
  })

  // The screen that the address names; the first one where it names none.
  const screen_of = (href) => new URL(href).searchParams.get("screen") ?? model.screens[0]
  let awaited = null  // the screen that “Back” leads to, until the server shows it

  const write_address = ({first = false} = {}) => {
    const address = new URL(window.location.href)
    for (const name of model.names) {
      address.searchParams.delete(name)
    }
    for (const [name, value] of new URLSearchParams(model.query)) {
      address.searchParams.append(name, value)
    }
    if (awaited !== null && screen_of(address.href) !== awaited) {
      return
    }
    awaited = null
    if (address.href === window.location.href) {
      return
    }
    if (first || screen_of(address.href) === screen_of(window.location.href)) {
      window.history.replaceState(window.history.state, "", address)
    } else {
      window.history.pushState(null, "", address)
    }
  }
  window.addEventListener("popstate", () => {
    awaited = screen_of(window.location.href)
    model.send_msg({screen: awaited})
  }, {signal: removed.signal})
  model.on("query", () => write_address())
  model.on("remove", () => {
    removed.abort()
    clearTimeout(looking)
  })
  write_address({first: true})

  return make("div", {}, skip, dialog, notice)
}
