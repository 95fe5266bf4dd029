// Saves a picture of a chart as PNG: <button data-save-png="address of its SVG">. The SVG comes from
// the server (reports/drawing.py), drawn twice as large as it is, for sharp screens and paper.
(() => {
  const SCALE = 2;

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-save-png]");
    if (!button) return;
    button.disabled = true;
    try {
      await save(button.dataset.savePng);
      button.closest("details")?.removeAttribute("open");
    } catch {
      button.textContent = "Could not be saved: try again";
    } finally {
      button.disabled = false;
    }
  });

  // One request: the answer names the file, and its text is the picture.
  async function save(address) {
    const answer = await fetch(`${address}&download=1`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const named = /filename="([^"]+)\.svg"/.exec(answer.headers.get("Content-Disposition") ?? "");
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await answer.text())}`;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth * SCALE;
    canvas.height = picture.naturalHeight * SCALE;
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const file = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${named?.[1] ?? "chart"}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
})();
