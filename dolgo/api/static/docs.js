"use strict";
for (const block of document.querySelectorAll(".copy")) {
  const code = block.querySelector("code");
  code.textContent = code.textContent.replaceAll("http://127.0.0.1:8080", location.origin);
  const button = block.appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // only where the page came over https or from this machine
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
