// Copy buttons: <div data-copy><pre>text</pre><button hidden>Copy</button></div>. Without this
// file, or where the browser gives no clipboard (plain http), the text is selected instead.
(() => {
  const SAYS_COPIED = 1500; // ms

  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  async function copy(button, text) {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      select(text);
      button.textContent = "Selected";
    }
    setTimeout(() => {
      button.textContent = label;
    }, SAYS_COPIED);
  }

  for (const box of document.querySelectorAll("[data-copy]")) {
    const button = box.querySelector("button");
    const text = box.querySelector("pre");
    button.hidden = false;
    button.addEventListener("click", () => copy(button, text));
  }
})();
