// The connection to the server: who the visitor is, a banner while the server cannot be reached, and a warning before
// the page is left where something would be lost.

const VISITOR = "xxact-visitor"
const TAB = "xxact-tab"
const OPEN = "xxact-open"  // set while the page is open: a duplicated tab finds it set, a reloaded one does not
const INTERRUPTED = "xxact-interrupted"

const PING_MILLISECONDS = 1500
const SILENCE_MILLISECONDS = 2500  // about as long without an answer shows the banner
const RETRY_MILLISECONDS = 1000
const DRAWING_MILLISECONDS = 120_000

function random_digits(bytes) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (one) => one.toString(16).padStart(2, "0")).join("")
}

// A value of the browser's storage, made where it is missing; one for this page where the browser keeps nothing.
function stored(storage, name, make) {
  try {
    const value = storage().getItem(name)
    if (value) {
      return {value, known: true}
    }
    const made = make()
    storage().setItem(name, made)
    return {value: made, known: false}
  } catch {
    return {value: make(), known: false}
  }
}

function remember(name, value) {
  try {
    if (value === null) {
      sessionStorage.removeItem(name)
    } else {
      sessionStorage.setItem(name, value)
    }
  } catch {
    // the browser keeps nothing
  }
}

function recall(name) {
  try {
    return sessionStorage.getItem(name)
  } catch {
    return null
  }
}

export function render({model, view}) {
  const visitor = stored(() => localStorage, VISITOR, () => random_digits(32)).value
  if (recall(OPEN) !== null) {
    remember(TAB, null)
  }
  const tab = stored(() => sessionStorage, TAB, () => random_digits(16))
  remember(OPEN, "yes")

  const banner = document.createElement("div")
  banner.className = "banner"
  banner.setAttribute("role", "alert")
  const note = document.createElement("div")
  note.className = "note"
  note.setAttribute("role", "status")

  const removed = new AbortController()
  const {signal} = removed
  let uploading = []  // names of files on their way to the server
  let heard = Date.now()   // when the server answered last
  let checked = Date.now()
  let lost = false    // the websocket is closed: only a new page helps
  let leaving = false

  // The page is left for good, reloaded, or put into the cache of the browser.
  addEventListener("pagehide", () => {
    leaving = true
    remember(OPEN, null)
  }, {signal})
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      window.location.reload()
    }
  }, {signal})
  addEventListener("beforeunload", (event) => {
    if (!lost && (uploading.length > 0 || model.at_risk !== "")) {
      event.preventDefault()
    }
  }, {signal})
  document.addEventListener("xxact-upload", (event) => {
    uploading = event.detail
  }, {signal})

  const show = (text) => {
    if (banner.textContent !== text) {
      banner.textContent = text
    }
    banner.classList.toggle("shown", text !== "")
  }
  const saved_text = () => {
    if (model.saved === 0) {
      return "Nothing had to be saved yet."
    }
    return `Your work is saved as of ${new Date(1000 * model.saved).toLocaleTimeString()}.`
  }

  async function reachable() {
    const root = document.querySelector("script[src*='static/js/bokeh']")?.src ?? window.location.href
    const given_up = AbortSignal.timeout(SILENCE_MILLISECONDS)
    try {
      return (await fetch(root, {method: "HEAD", cache: "no-store", signal: given_up})).ok
    } catch {
      return false
    }
  }

  async function reconnect() {
    if (lost || leaving) {
      return
    }
    lost = true
    show(`Connection to the server lost. Reconnecting … ${saved_text()}`)
    if (uploading.length > 0) {
      remember(INTERRUPTED, uploading.slice(0, 5).join(", "))
    }
    while (!await reachable()) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS))
    }
    show("Connected to the server again. Your work is being restored …")
    window.location.reload()
  }

  const check = () => {
    if (lost || leaving) {
      return
    }
    const now = Date.now()
    if (now - checked > 2 * SILENCE_MILLISECONDS) {  // the computer slept, or the tab was in the background
      heard = now
    }
    checked = now
    model.send_msg({kind: "ping"})
    if (now - heard > SILENCE_MILLISECONDS + PING_MILLISECONDS / 2) {
      show(`The server does not answer: it is busy, or the connection is gone. Waiting … ${saved_text()}`)
    }
  }
  model.on("msg:custom", (message) => {
    if (message.kind === "pong" && !lost) {
      heard = Date.now()
      show("")
    }
  })
  let timer = null
  addEventListener("offline", () => {
    if (!lost && !leaving) {
      show(`This computer is offline. Waiting for the network … ${saved_text()}`)
    }
  }, {signal})

  // Say who the visitor is once the page is drawn: earlier replies of the server would be lost.
  const begin = async () => {
    const end = Date.now() + DRAWING_MILLISECONDS
    while (!view.model.document?.is_idle && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    view.model.document?.on_event("connection_lost", () => reconnect())
    heard = checked = Date.now()
    timer = setInterval(check, PING_MILLISECONDS)
    model.send_msg({kind: "hello", visitor, tab: tab.value, again: tab.known})
    const interrupted = recall(INTERRUPTED)
    remember(INTERRUPTED, null)
    if (interrupted !== null) {
      note.textContent = `The upload of ${interrupted} was interrupted: drop the files again.`
      note.classList.add("shown")
      note.addEventListener("click", () => note.classList.remove("shown"))
    }
  }
  begin()

  model.on("remove", () => {
    clearInterval(timer)
    removed.abort()
  })
  const parts = document.createElement("div")
  parts.append(banner, note)
  return parts
}
