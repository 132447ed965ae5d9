// A drop zone for files, which can also be chosen in a dialog. Every file is announced with name and size, also empty
// and too large ones, so that the server can report on each.

const CHUNK = 1024 * 1024

const DRAWING_MILLISECONDS = 10_000

// Wait until the page is drawn: earlier replies of the server would be lost.
async function page_is_drawn(view) {
  const end = Date.now() + DRAWING_MILLISECONDS
  while (!view.model.document?.is_idle && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export function render({model, view}) {
  const zone = document.createElement("label")
  zone.className = "zone"
  const input = document.createElement("input")
  input.type = "file"
  input.multiple = true
  input.setAttribute("aria-label", model.label)
  const title = document.createElement("span")
  title.className = "title"
  const hint = document.createElement("span")
  hint.className = "hint"
  hint.textContent = model.hint
  const status = document.createElement("span")
  status.className = "status"
  status.setAttribute("role", "status")
  zone.append(input, title, hint, status)

  // Tell the page which files are on their way.
  const announce = (names) => document.dispatchEvent(new CustomEvent("xxact-upload", {detail: names}))

  const idle = () => {
    announce([])
    zone.classList.remove("busy")
    title.textContent = model.label
    status.textContent = ""
  }
  idle()

  async function send(files) {
    if (files.length === 0) {
      return
    }
    zone.classList.add("busy")
    announce(files.map((file) => file.name))
    title.textContent = files.length === 1 ? "Reading the file …" : `Reading ${files.length} files …`
    status.textContent = title.textContent
    await page_is_drawn(view)
    for (const file of files) {
      model.send_msg({kind: "begin", name: file.name, size: file.size})
      if (file.size <= model.largest_file) {
        try {
          for (let start = 0; start < file.size; start += CHUNK) {
            model.send_msg({kind: "chunk", data: await file.slice(start, start + CHUNK).arrayBuffer()})
          }
        } catch {
          model.send_msg({kind: "unreadable"})
          continue
        }
      }
      model.send_msg({kind: "end"})
    }
    model.send_msg({kind: "done"})
  }

  let queue = Promise.resolve()
  const take = (files) => {
    const list = Array.from(files)
    queue = queue.then(() => send(list))
  }
  model.on("msg:custom", (message) => {
    if (message.kind === "done") {
      idle()
    }
  })
  input.addEventListener("change", () => {
    take(input.files)
    input.value = ""
  })

  const holds_files = (event) => event.dataTransfer != null && Array.from(event.dataTransfer.types).includes("Files")
  let depth = 0
  const removed = new AbortController()
  const listeners = {
    dragenter: (event) => {
      if (holds_files(event)) {
        depth += 1
        zone.classList.add("over")
      }
    },
    dragleave: (event) => {
      if (holds_files(event)) {
        depth = Math.max(0, depth - 1)
        zone.classList.toggle("over", depth > 0)
      }
    },
    dragover: (event) => {
      if (holds_files(event)) {
        event.preventDefault()
        event.dataTransfer.dropEffect = "copy"
      }
    },
    drop: (event) => {
      if (holds_files(event)) {
        event.preventDefault()
        depth = 0
        zone.classList.remove("over")
        take(event.dataTransfer.files)
      }
    },
  }
  // A zone for its own files only keeps them from the zone that takes files from the whole page.
  const target = model.anywhere ? document : zone
  for (const [name, listener] of Object.entries(listeners)) {
    target.addEventListener(name, (event) => {
      listener(event)
      if (!model.anywhere) {
        event.stopPropagation()
      }
    }, {signal: removed.signal})
  }
  model.on("remove", () => {
    removed.abort()
  })
  return zone
}
