// Says when an update has been drawn: after the next frame, or soon where the page is hidden and draws none.

const HIDDEN_MILLISECONDS = 500

export function render({model}) {
  model.on("asked", () => {
    const number = model.asked
    let sent = false
    const send = () => {
      if (!sent) {
        sent = true
        model.send_msg({drawn: number})
      }
    }
    if (document.hidden) {
      setTimeout(send, HIDDEN_MILLISECONDS)
    } else {
      requestAnimationFrame(() => requestAnimationFrame(send))
    }
  })
  return document.createElement("span")
}
