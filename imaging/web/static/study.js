// The page of one study: Esc goes back to its row.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing) document.getElementById("back").click();
});
