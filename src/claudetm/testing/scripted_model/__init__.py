r"""A model that plays a scenario behind a loopback Messages API: the real SDK and the real CLI run their real tools.

What it answers follows from the request alone, so a killed run that is resumed gets the same answers. A scenario
lists sessions, each with the role and subject it fits and its turns; `scenario.py` has every key:

    name: greeting
    sessions:
      - role: worker
        subject: c1.t1              # or a glob; `contains: [text]` narrows, `find: {id: 'thread (\w+)'}` fills {id}
        turns:
          - say: I'll write it.
            use: [{Write: {file_path: "{cwd}/hello.py", content: "print('hello')"}}]
          - use: [{Bash: {command: "git add -A; git diff --cached --quiet || git commit -qm 'Say hello'"}}]
            status: 529             # a fault: it is met once, then the turn is played
            times: 1
          - answer: {outcome: done, summary: Says hello}

A resumed session goes on at the turn that was cut off, or a few before; a fresh one starts at the first. So a
scenario that is to survive kills says every step in a way that is harmless twice.
"""
