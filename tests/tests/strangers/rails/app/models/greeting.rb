GREETING = "one"
