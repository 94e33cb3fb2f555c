// The lights of the parts of the system. A reading of the page lights them anew: they are morphed with it.

const health = () => document.getElementById("health");

export function isDark() {
  return health().classList.contains("unanswered");
}

// Nobody answers: each light says that nothing is known, and the line below why. Returns that sentence.
export function goDark() {
  const { unknown, unanswered } = health().dataset;
  health().classList.add("unanswered");
  for (const word of health().querySelectorAll(".sign > span")) word.textContent = unknown;
  const why = document.createElement("span");
  why.textContent = unanswered;
  health().querySelector(".alarms").replaceChildren(why);
  return unanswered;
}
