def beat():
    print("task", flush=True)
