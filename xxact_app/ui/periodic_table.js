// A periodic table in which each element has one of four states, or none. Arrow keys move, Enter and the space bar go
// through the states, Delete clears one.

const STATES = ["", "must", "may", "one_of", "never"]
const WORDS = {"": "not set", must: "must be present", may: "may be present", one_of: "at least one of these is present",
  never: "not present"}
const ROWS = [
  "H . . . . . . . . . . . . . . . . He",
  "Li Be . . . . . . . . . . B C N O F Ne",
  "Na Mg . . . . . . . . . . Al Si P S Cl Ar",
  "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr",
  "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe",
  "Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn",
  "Fr Ra Ac . . . . . . . . . . . . . . .",
  ". . . Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu .",
  ". . . Th Pa U Np Pu . . . . . . . . . .",
].map((row) => row.split(" "))

export function render({model}) {
  const table = document.createElement("div")
  table.className = "table"
  table.setAttribute("role", "grid")
  table.setAttribute("aria-label", "Elements of the specimen")
  const cells = new Map()
  let current = "O"

  const show = () => {
    for (const [symbol, cell] of cells) {
      const state = model.states[symbol] ?? ""
      const guess = model.guessed.includes(symbol)
      cell.dataset.state = state
      cell.classList.toggle("guess", guess)
      cell.setAttribute("aria-label", `${symbol}: ${WORDS[state]}${guess ? ", guessed" : ""}`)
      cell.title = cell.getAttribute("aria-label")
      cell.tabIndex = symbol === current ? 0 : -1
    }
  }
  const set = (symbol, state) => {
    const states = {...model.states}
    delete states[symbol]
    if (state !== "") {
      states[symbol] = state
    }
    model.changed = {symbol, state, number: model.changed.number + 1}
    model.states = states
    show()
  }
  const next = (symbol, step) => {
    const place = STATES.indexOf(model.states[symbol] ?? "")
    set(symbol, STATES[(place + step + STATES.length) % STATES.length])
  }
  const move = (row, column, down, right) => {
    for (let n = 0; n < 18; n++) {
      row = (row + down + ROWS.length) % ROWS.length
      column = (column + right + 18) % 18
      const symbol = ROWS[row][column]
      if (symbol !== ".") {
        current = symbol
        show()
        cells.get(symbol).focus()
        return
      }
    }
  }

  ROWS.forEach((symbols, row) => {
    const line = document.createElement("div")
    line.setAttribute("role", "row")
    line.className = "line"
    symbols.forEach((symbol, column) => {
      if (symbol === ".") {
        return
      }
      const cell = document.createElement("button")
      cell.type = "button"
      cell.textContent = symbol
      cell.setAttribute("role", "gridcell")
      cell.style.gridColumn = String(column + 1)
      cell.style.gridRow = String(row + 1 + (row > 6 ? 1 : 0))
      cell.addEventListener("click", (event) => {
        current = symbol
        next(symbol, event.shiftKey ? -1 : 1)
      })
      cell.addEventListener("keydown", (event) => {
        const way = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key]
        if (way) {
          move(row, column, ...way)
        } else if (event.key === "Delete" || event.key === "Backspace") {
          set(symbol, "")
        } else {
          if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
            event.stopPropagation()  // letters are no shortcuts here
          }
          return
        }
        event.preventDefault()
        event.stopPropagation()
      })
      cells.set(symbol, cell)
      line.append(cell)
    })
    table.append(line)
  })

  const legend = document.createElement("div")
  legend.className = "legend"
  for (const [state, text] of [["must", "must"], ["may", "may"], ["one_of", "one of"], ["never", "never"]]) {
    const sign = document.createElement("span")
    sign.className = "sign"
    sign.dataset.state = state
    sign.textContent = "X"
    sign.setAttribute("aria-hidden", "true")
    legend.append(sign, text)
  }
  const about = document.createElement("span")
  about.className = "about"
  about.textContent = "Click repeatedly to go through the states; arrow keys, Enter and Delete work, too."
  model.on("states", show)
  model.on("guessed", show)
  show()
  const all = document.createElement("div")
  all.append(table, legend, about)
  return all
}
